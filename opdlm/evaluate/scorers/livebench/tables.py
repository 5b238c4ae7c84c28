"""LiveBench's data analysis. Graders give a share from 0 to 1, or none where no answer was found."""

import ast
import json
import math
import re
from collections.abc import Callable, Iterator
from functools import partial
from io import StringIO
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from opdlm.evaluate.scorers.livebench.extraction import boxed, plain, tagged

BELOW = 1e-6
"""How far apart two numbers of a table may lie."""
LITERAL_ERRORS = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)


def column_type(gold: str, text: str) -> float:
    """The name of a column's class at the end of the text or of a box (data_analysis/cta).

    Its letters, digits and underscores count. A box is one with braces.
    """
    box = boxed(text) if "\\boxed{" in text else None
    given = text if box is None else plain(box)
    name = re.sub(r"\W", "", gold.lower())
    return float(bool(name) and re.sub(r"\W", "", given.lower()).endswith(name))


def table_join(gold: dict[str, str], text: str) -> float | None:
    """A mapping of columns as a Python dictionary: F1 of its pairs, to two digits (data_analysis/tablejoin)."""
    given = _dictionary(text)
    if not given:
        return None
    right = sum(bool(gold.get(name)) and gold[name] == value for name, value in given.items())
    wrong = len(given) - right
    mistaken = sum(bool(gold.get(name)) and gold[name] != value for name, value in given.items())
    missed = sum(not given.get(name) for name in gold)
    return float(np.round(2 * right / (2 * right + wrong + mistaken + missed), 2))


def _dictionary(text: str) -> dict[Any, Any]:
    """The dictionary that the text or its last answer between tags is, or else holds; without values that are none."""
    while found := tagged(text, lines=True):
        text = found[-1].strip()
    value = _literal(text)
    if value is None:
        value = _literal(_fenced(text).replace("null", "None"))
    return {name: other for name, other in value.items() if other is not None} if isinstance(value, dict) else {}


def _fenced(text: str) -> str:
    """What stands in the last Python fence, else the last JSON fence, else the last fence, else the last box."""
    line = text.replace("\n", "")
    for language in ("python", "json", ""):
        found = re.findall(rf"```{language}(.*?)```", line)
        if found:
            return str(found[-1])
    box = boxed(line)
    return text if box is None else re.sub(r"\\text{['|\"](.*?)['|\"]}", r"'\1'", box).replace("\\", "")


def _literal(text: str) -> Any:
    """The value that a text is as a Python literal; none if it is none."""
    try:
        return ast.literal_eval(text)
    except LITERAL_ERRORS:
        return None


def table_reformat(gold: str, text: str, question: str) -> float | None:
    """A table in another format: all of its cells must be equal, in the same order (data_analysis/tablereformat).

    Raises:
        ValueError: the question names no format, or the row's own table is not in it.
    """
    layout, readers = _wanted(question)
    wanted = _read(readers[layout], gold)
    if wanted is None:
        raise ValueError(f"the ground truth is not a table in {layout}")
    cleaned = re.sub(r"^\s*(Here|Input)\b.*?\b(format|table)\s*[:)]\s*", "", _cleaned(text), flags=re.IGNORECASE)
    answers = [table for table in _readings(layout, readers[layout], cleaned.strip(), wanted) if table is not None]
    return float(any(_equal(table, wanted) for table in answers)) if answers else None


Reader = Callable[[str], pd.DataFrame]


def _wanted(question: str) -> tuple[str, dict[str, Reader]]:
    """The format that the question asks for, and how tables are read: questions of 2025 read JSON and Markdown anew."""
    old = re.search(r"Please convert the Input Table from .*?format to (.*?) format", question)
    new = re.findall(r"Target Format: *(.*)", question)
    layout = old[1] if old else new[-1] if new else ""
    readers = OLD_READERS if old else NEW_READERS
    if layout.strip().lower() not in readers:
        raise ValueError("the question names no known format to convert a table to")
    return layout.strip().lower(), readers


def _cleaned(text: str) -> str:
    """The last answer between tags, the last JSON or HTML fence, or the text without its fences."""
    while found := tagged(text, lines=True):
        text = found[-1].strip()
    for language in ("json", "html"):
        blocks = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
        if blocks:
            return str(blocks[-1]).strip()
    return re.sub(r"^```.*\n", "", text).replace("&amp;", "&").replace("```", "").strip()


def _readings(layout: str, reader: Reader, text: str, wanted: pd.DataFrame) -> Iterator[pd.DataFrame | None]:
    """The whole text as a table, and then the table within other words; of TSV only if the whole is none."""
    whole = _read(reader, text)
    yield whole
    if layout == "csv" or (layout == "tsv" and whole is None):
        yield _from_header(text, [str(name) for name in wanted.columns], "," if layout == "csv" else "\t")
    elif layout == "jsonl":
        yield _from_lines(text, [str(name) for name in wanted.columns])


def _read(reader: Reader, text: str) -> pd.DataFrame | None:
    try:
        return reader(text)
    except Exception:  # pandas raises nearly everything on what is not a table
        return None


def _from_header(text: str, names: list[str], separator: str) -> pd.DataFrame | None:
    """The table that starts on the line of column names, cut at its end until it can be read."""
    lines = text.strip().split("\n")
    header = separator.join(names).strip()
    start = next((index for index, line in enumerate(lines) if line.strip() == header), None)
    if start is None:
        return None
    tables = (_read(_separated(separator), "\n".join(lines[start:end])) for end in range(len(lines), start, -1))
    return next((table for table in tables if table is not None), None)


def _from_lines(text: str, names: list[str]) -> pd.DataFrame | None:
    """A table of those lines that are JSON objects and hold every column's name."""
    records = []
    for line in text.strip().split("\n"):
        if line.startswith("{") and line.endswith("}") and all(name in line for name in names):
            try:
                records.append(json.loads(line))
            except (ValueError, RecursionError):
                continue
    return pd.DataFrame(records) if records else None


def _equal(given: pd.DataFrame, wanted: pd.DataFrame) -> bool:
    try:
        first, second = _tidy(given), _tidy(wanted)
        if len(first) != len(second) or sorted(first.columns) != sorted(second.columns):
            return False
        return all(
            _same(first.iloc[number][name], second.iloc[number][name])
            for number in range(len(second))
            for name in second.columns
        )
    except Exception:  # columns that are not text, cells that are lists, and whatever else pandas reads
        return False


def _tidy(table: pd.DataFrame) -> pd.DataFrame:
    table = table.set_axis([name.strip() for name in table.columns], axis="columns")
    return table.drop(columns="index") if "index" in table.columns else table


def _same(first: Any, second: Any) -> bool:
    first, second = (value.strip() if isinstance(value, str) else value for value in (first, second))
    if isinstance(first, Real) and isinstance(second, Real):
        first, second = float(first), float(second)
        return bool(math.isnan(first) and math.isnan(second)) or abs(first - second) < BELOW
    return bool(first == second)


def _separated(separator: str) -> Reader:
    return lambda text: pd.read_csv(StringIO(text), sep=separator)


def _json(*orients: str) -> Reader:
    """Reads JSON in the first of several layouts that fits; "lines" are records, one a line."""

    def reader(text: str) -> pd.DataFrame:
        tables = (_read(partial(_json_in, orient), text) for orient in orients)
        table = next((table for table in tables if table is not None), None)
        if table is None:
            raise ValueError("not a table in JSON")
        return table

    return reader


def _json_in(orient: str, text: str) -> pd.DataFrame:
    if orient == "lines":
        return pd.read_json(StringIO(text), orient="records", lines=True)
    return pd.read_json(StringIO(text), orient=orient)  # type: ignore[call-overload]


def _html(text: str) -> pd.DataFrame:
    return pd.concat(pd.read_html(StringIO(text)), axis=0)


def _old_markdown(text: str) -> pd.DataFrame:
    return pd.read_table(StringIO(text), sep="|", header=0, index_col=1, skipinitialspace=True)


def _markdown(text: str) -> pd.DataFrame:
    header, *rest = text.strip().split("\n")
    table = pd.read_table(StringIO("\n".join([header, *rest[1:]])), sep="|", header=0, skipinitialspace=True)
    table = table.iloc[:, 1:-1]
    texts = [name for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    return table.assign(**{str(name): table[name].astype(str).str.strip() for name in texts})


COMMON: dict[str, Reader] = {
    "jsonl": _json("lines"),
    "html": _html,
    "csv": _separated(","),
    "tsv": _separated("\t"),
}
OLD_READERS = {**COMMON, "json": _json("index", "records", "lines", "table", "values"), "markdown": _old_markdown}
NEW_READERS = {**COMMON, "json": _json("table", "index", "records"), "markdown": _markdown}

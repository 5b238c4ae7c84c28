"""Rows out of files: our own schema, the published one (spec 7.1), and the public releases of the benchmarks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from opdlm.config.data import FileLayout, Source
from opdlm.data.readers import choice, code, evalplus, instructions, livecodebench, mathematics, published
from opdlm.data.readers.records import Record, RowFields, csv_rows, objects
from opdlm.data.rows import Row
from opdlm.errors import DataError


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file is read.

    Attributes:
        row: the fields of a row from one record; none if the record does not belong to the benchmark.
        records: the records of the file.
    """

    row: Callable[[Record], RowFields | None]
    records: Callable[[Path], Iterator[Record]] = objects


LAYOUTS: dict[FileLayout, Layout] = {
    "rows": Layout(published.rows),
    "gsm8k": Layout(mathematics.gsm8k),
    "math500": Layout(mathematics.math500),
    "aime": Layout(mathematics.aime),
    "livemathbench": Layout(mathematics.livemathbench),
    "mmlu": Layout(choice.four_columns, choice.mmlu_tables),
    "mmlu_pro": Layout(choice.mmlu_pro),
    "ceval": Layout(choice.four_columns, choice.ceval_tables),
    "gpqa": Layout(choice.gpqa, csv_rows),
    "ifeval": Layout(instructions.ifeval),
    "livebench": Layout(instructions.livebench),
    "zebralogic": Layout(published.zebralogic),
    "humaneval": Layout(code.humaneval),
    "humaneval_plus": Layout(evalplus.humaneval_plus),
    "mbpp": Layout(evalplus.mbpp),
    "mbpp_plus": Layout(evalplus.mbpp_plus),
    "codeforces": Layout(code.codeforces),
    "livecodebench": Layout(livecodebench.livecodebench),
}


def read_file(source: Source, file: Path, rows: int | None) -> list[Row]:
    """Read the rows of a file, the first `rows` of them if that is a number.

    Raises:
        DataError: the file is missing, empty or damaged, or a row does not fit; the message names file and row. Or the
            whole file was read and does not give as many rows as the source expects.
    """
    if source.layout == "tiny":
        raise DataError("layout 'tiny' has no file; opdlm.data.tiny makes its rows")
    found = list(islice(_rows(LAYOUTS[source.layout], file), rows))
    if not found:
        raise DataError(f"{file} has no rows")
    if rows is None and source.expected_rows not in (None, len(found)):
        raise DataError(
            f"{file} gives {len(found)} rows, and {source.expected_rows} are expected: it is another version of the "
            "data, or not all of it; correct 'expected_rows' or the file"
        )
    return found


def _rows(layout: Layout, file: Path) -> Iterator[Row]:
    for record in layout.records(file):
        fields = layout.row(record)
        if fields is not None:
            yield _row(fields, record)


def _row(fields: dict[str, Any], record: Record) -> Row:
    try:
        row = Row.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise record.error(".".join(str(part) for part in first["loc"]) or "row", first["msg"]) from None
    if not row.question.strip():
        raise record.error("question", "empty")
    if len(row.test_input) != len(row.test_output):
        raise record.error("test_output", f"{len(row.test_output)} for {len(row.test_input)} inputs")
    return row

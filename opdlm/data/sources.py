"""Rows out of files: our own schema, the published one (spec 7.1), and the public releases of four benchmarks."""

import ast
import csv
import gzip
import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from opdlm.config.data import Source
from opdlm.data.rows import Row
from opdlm.errors import DataError
from opdlm.files import iterate_jsonl

Numbered = Iterator[tuple[str, dict[str, Any]]]
"""Where a row stands in its file, and its fields in the schema of `Row`."""


def read_file(source: Source, file: Path, rows: int | None) -> list[Row]:
    """Read the rows of a file, the first `rows` of them if that is a number.

    Raises:
        DataError: the file is missing, empty or damaged, or a row does not fit; the message names file and row.
    """
    if source.layout == "tiny":
        raise DataError("layout 'tiny' has no file; opdlm.data.tiny makes its rows")
    found = [_row(fields, file, place) for place, fields in islice(READERS[source.layout](file), rows)]
    if not found:
        raise DataError(f"{file} has no rows")
    return found


def _row(fields: dict[str, Any], file: Path, place: str) -> Row:
    try:
        row = Row.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "row"
        raise DataError(f"{file}, {place}: {field}: {first['msg']}") from None
    if not row.question.strip():
        raise DataError(f"{file}, {place}: question: empty")
    return row


def _rows(file: Path) -> Numbered:
    """Our schema, one object per line; or the published schema, one JSON list."""
    text = _text(file)
    if text.lstrip().startswith("["):
        yield from _published(text, file)
        return
    for number, value in iterate_jsonl(file):
        yield f"line {number}", _fields(value, file, f"line {number}")


def _text(file: Path) -> str:
    try:
        content = file.read_bytes()
        return (gzip.decompress(content) if file.suffix == ".gz" else content).decode("utf-8")
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{file} is truncated or corrupt: {error}") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error


def _published(text: str, file: Path) -> Numbered:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{file} is not valid JSON: {error}") from error
    for number, value in enumerate(values, start=1):
        place = f"row {number}"
        given = _fields(value, file, place)
        # Fields of other scorers (IFEval's instructions and so on) have no place in our schema.
        fields = {name: given[name] for name in Row.model_fields if given.get(name) is not None}
        answer = fields.get("ground_truth_answer", "")
        fields["ground_truth_answer"] = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
        if re.fullmatch(r"[A-J]", fields["ground_truth_answer"]):
            fields.setdefault("options", _count_options(str(fields.get("question", ""))))
        yield place, fields


def _count_options(question: str) -> int:
    """Number of options listed line by line as `A.`, `A)`, `A:` or `(A)`; 0 if there is no such list."""
    listed = re.findall(r"^[ \t]*\(?([A-J])[.):]", question, flags=re.MULTILINE)
    return next((count for count in range(10, 1, -1) if "ABCDEFGHIJ"[:count] in "".join(listed)), 0)


def _fields(value: Any, file: Path, place: str, needed: tuple[str, ...] = ()) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{file}, {place}: not an object")
    for name in needed:
        if not isinstance(value.get(name), str):
            raise DataError(f"{file}, {place}: {name}: missing, or not text")
    return value


def _gsm8k(file: Path) -> Numbered:
    for number, value in iterate_jsonl(file):
        place = f"line {number}"
        fields = _fields(value, file, place, ("question", "answer"))
        _, mark, answer = fields["answer"].rpartition("####")
        if not mark or not answer.strip():
            raise DataError(f"{file}, {place}: answer: no result after ####")
        yield (
            place,
            {
                "question": fields["question"],
                "ground_truth_answer": answer.strip().replace(",", ""),
                "domain": "math",
            },
        )


def _math500(file: Path) -> Numbered:
    for number, value in iterate_jsonl(file):
        place = f"line {number}"
        fields = _fields(value, file, place, ("problem", "answer"))
        yield (
            place,
            {
                "question": fields["problem"],
                "ground_truth_answer": fields["answer"],
                "domain": "math",
                "subdivision": fields.get("subject"),
            },
        )


def _mmlu(file: Path) -> Numbered:
    """All test tables of the release's archive, in the order of their names."""
    try:
        with zipfile.ZipFile(file) as archive:
            for name in sorted(name for name in archive.namelist() if name.endswith("_test.csv")):
                text = archive.read(name).decode("utf-8")
                subject = name.rpartition("/")[2].removesuffix("_test.csv")
                for number, record in enumerate(csv.reader(io.StringIO(text)), start=1):
                    yield _choice(record, subject, file, f"{name} row {number}")
    except FileNotFoundError:
        raise DataError(f"{file} does not exist") from None
    except (zipfile.BadZipFile, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} is truncated or corrupt: {error}") from error


def _choice(record: list[str], subject: str, file: Path, place: str) -> tuple[str, dict[str, Any]]:
    if len(record) != 6 or record[5] not in "ABCD":
        raise DataError(f"{file}, {place}: not a question, four options and a letter")
    question, *options, letter = record
    lines = [f"{name}. {option}" for name, option in zip("ABCD", options, strict=True)]
    return place, {
        "question": "\n".join([question, *lines]),
        "ground_truth_answer": letter,
        "domain": "science",
        "subdivision": subject,
        "options": 4,
    }


def _humaneval(file: Path) -> Numbered:
    for number, value in iterate_jsonl(file):
        place = f"line {number}"
        fields = _fields(value, file, place, ("task_id", "prompt", "entry_point", "test"))
        try:
            tests = _humaneval_tests(fields["prompt"], fields["test"], fields["entry_point"])
        except SyntaxError as error:
            raise DataError(f"{file}, {place}: prompt: not Python ({error.msg})") from None
        yield (
            place,
            {
                "question": fields["prompt"],
                "task_id": fields["task_id"],
                "entry_point": fields["entry_point"],
                "test_list": tests,
                "domain": "code",
            },
        )


def _humaneval_tests(prompt: str, test: str, entry_point: str) -> list[str]:
    """The test, preceded by the helper functions of the prompt that some tests use (rows 32, 38, 50)."""
    helpers = [
        ast.unparse(statement)
        for statement in ast.parse(prompt).body
        if not (isinstance(statement, ast.FunctionDef) and statement.name == entry_point)
    ]
    return [*helpers, f"{test.strip()}\n\ncheck({entry_point})"]


READERS: dict[str, Callable[[Path], Numbered]] = {
    "rows": _rows,
    "gsm8k": _gsm8k,
    "math500": _math500,
    "mmlu": _mmlu,
    "humaneval": _humaneval,
}

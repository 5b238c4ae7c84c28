"""Code: OpenAI's HumanEval, and Codeforces as open-r1 publishes it."""

import ast
import math
from typing import Any

from opdlm.data.readers.records import Record, RowFields


def humaneval(record: Record) -> RowFields:
    """A task of HumanEval with its own tests."""
    return {
        "question": record.text("prompt"),
        "task_id": record.text("task_id"),
        "entry_point": record.text("entry_point"),
        "test_list": humaneval_tests(record),
        "domain": "code",
    }


def humaneval_tests(record: Record) -> list[str]:
    """The test, preceded by the helper functions of the prompt that some tests use (rows 32, 38, 50).

    Raises:
        DataError: the prompt is not Python.
    """
    entry_point, test = record.text("entry_point"), record.text("test")
    try:
        statements = ast.parse(record.text("prompt")).body
    except (SyntaxError, ValueError) as error:
        raise record.error("prompt", f"not Python ({error})") from None
    helpers = [
        ast.unparse(statement)
        for statement in statements
        if not (isinstance(statement, ast.FunctionDef) and statement.name == entry_point)
    ]
    return [*helpers, f"{test.strip()}\n\ncheck({entry_point})"]


def codeforces(record: Record) -> RowFields | None:
    """A problem of `open-r1/codeforces` (spec 7.2); none unless comparing standard output can judge it.

    The published preparation fails on fields that are null (spec 8.2 D29); here they are left out of the question.
    """
    fields = record.fields
    if fields.get("input_mode") != "stdio" or not fields.get("executable"):
        return None
    if fields.get("interaction_format") or fields.get("generated_checker") or not fields.get("official_tests"):
        return None
    tests = _tests(record, "official_tests")
    if not fields.get("description"):
        return None
    limit = fields.get("time_limit")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float) or not limit >= 0):
        raise record.error("time_limit", f"{limit!r} is not a number of seconds")
    return {
        "question": _question(record),
        "task_id": record.text("id"),
        "domain": "code",
        "subdivision": None if fields.get("rating") is None else str(fields["rating"]),
        "test_method": "stdio",
        "test_input": [_unix(test["input"]) for test in tests],
        "test_output": [_unix(test["output"]) for test in tests],
        "comparison": "tokens",
        "test_time_limit": max(1, math.ceil(3 * (1.0 if limit is None else limit)) + 1),
    }


def _tests(record: Record, field: str) -> list[dict[str, Any]]:
    tests = record.fields[field]
    if not isinstance(tests, list) or not all(isinstance(test, dict) for test in tests):
        raise record.error(field, "not a list of tests")
    for number, test in enumerate(tests, start=1):
        if not isinstance(test.get("input"), str) or not isinstance(test.get("output"), str):
            raise record.error(field, f"test {number} has no input or no output")
    return tests


def _question(record: Record) -> str:
    blocks = [_prose(record, "title"), "", _prose(record, "description")]
    for heading, field in [("Input", "input_format"), ("Output", "output_format")]:
        if text := _prose(record, field):
            blocks += ["", heading, text]
    if examples := record.fields.get("examples"):
        blocks += ["", "Examples"]
        for example in examples:
            blocks += ["", "Input", _unix(example.get("input") or ""), "Output", _unix(example.get("output") or "")]
    if note := _prose(record, "note"):
        blocks += ["", "Note", note]
    return "\n".join(blocks).lstrip("\n")


def _prose(record: Record, field: str) -> str:
    """Codeforces writes formulas between $$$."""
    return _unix(record.text(field)).replace("$$$", "$") if record.fields.get(field) is not None else ""


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")

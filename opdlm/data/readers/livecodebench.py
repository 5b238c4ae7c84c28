"""LiveCodeBench: problems with tests on standard input or of a function (spec 7.3)."""

import base64
import binascii
import json
import pickletools
import zlib
from typing import Any

from opdlm.data.readers.records import Record, RowFields

FIRST_MONTH, LAST_MONTH = "2024-08", "2025-05"
"""The window of LCB-v6, both months included (spec 7.3)."""
SECONDS = 6.0
"""Wall time of one test (spec 6.4)."""
MAX_BYTES = 256 << 20
"""Longest private tests of a problem, unpacked; a small file can unpack to any size."""
TEXT = {"UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
HARMLESS = {"PROTO", "FRAME", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "STOP"}


def livecodebench(record: Record) -> RowFields | None:
    """A row of `code_generation_lite`, of any of its files; none if it is not in the window."""
    if not FIRST_MONTH <= record.text("contest_date")[:7] <= LAST_MONTH:
        return None
    metadata = _json(record, "metadata", record.fields.get("metadata") or "{}")
    name = metadata.get("func_name") if isinstance(metadata, dict) else None
    return {
        "question": worded(record.text("question_content"), record.fields.get("starter_code") or ""),
        "task_id": record.text("question_id"),
        "domain": "code",
        "subdivision": record.fields.get("difficulty"),
        **tests(record, name),
    }


def tests(record: Record, function: str | None) -> RowFields:
    """The public and then the private tests of a problem.

    Raises:
        DataError: tests are missing or damaged, or are not what the format has.
    """
    cases = _cases(record, "public_test_cases", _json(record, "public_test_cases", record.text("public_test_cases")))
    cases += _cases(record, "private_test_cases", _private(record))
    return judged([case["input"] for case in cases], [case["output"] for case in cases], function)


def published_tests(record: Record) -> RowFields:
    """The tests of a published row: JSON of inputs, outputs and the name of the function.

    Raises:
        DataError: they are damaged.
    """
    given = record.fields["input_output"]
    tests = _json(record, "input_output", given) if isinstance(given, str) else given
    if not isinstance(tests, dict) or not isinstance(tests.get("inputs"), list):
        raise record.error("input_output", "no inputs and outputs")
    return judged(tests["inputs"], tests.get("outputs"), tests.get("fn_name"))


def judged(inputs: list[str], outputs: Any, function: Any) -> RowFields:
    """Tests as our schema has them."""
    return {
        "test_method": "call" if function else "stdio",
        "entry_point": function or None,
        "test_input": inputs,
        "test_output": outputs,
        "comparison": "lines",
        "test_time_limit": SECONDS,
    }


def _private(record: Record) -> Any:
    """Private tests are JSON, or JSON as a pickled text, compressed and in base64."""
    given = record.text("private_test_cases")
    if given.lstrip().startswith("["):
        return _json(record, "private_test_cases", given)
    try:
        text = pickled_text(_unpacked(base64.b64decode(given, validate=True)))
    except (binascii.Error, zlib.error, ValueError) as error:
        raise record.error("private_test_cases", f"neither JSON nor a compressed text ({error})") from None
    return _json(record, "private_test_cases", text)


def _unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    unpacked = unpacker.decompress(data, MAX_BYTES)
    if not unpacker.eof:
        raise ValueError(f"cut off, or longer than {MAX_BYTES >> 20} MB when unpacked")
    return unpacked


def pickled_text(data: bytes) -> str:
    """The text in a pickle that holds one text and nothing else. The pickle is read, not run.

    Raises:
        ValueError: it holds anything else, or is damaged.
    """
    texts = []
    for code, argument, _ in pickletools.genops(data):
        if code.name in TEXT:
            texts.append(str(argument))
        elif code.name not in HARMLESS:
            raise ValueError(f"a pickle with {code.name}, which no text needs; do not load this file elsewhere")
    if len(texts) != 1:
        raise ValueError(f"a pickle of {len(texts)} texts")
    return texts[0]


def _json(record: Record, field: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, TypeError, RecursionError) as error:
        raise record.error(field, f"not valid JSON: {error}") from None


def _cases(record: Record, field: str, cases: Any) -> list[dict[str, str]]:
    if not isinstance(cases, list) or not all(isinstance(case, dict) for case in cases):
        raise record.error(field, "not a list of tests")
    for number, case in enumerate(cases, start=1):
        if not isinstance(case.get("input"), str) or not isinstance(case.get("output"), str):
            raise record.error(field, f"test {number} has no input or no output")
    return cases


STARTER = (
    "You will use the following starter code to write the solution to the problem and enclose your code within "
    "delimiters."
)
STDIN = (
    "Read the inputs from stdin solve the problem and write the answer to stdout (do not directly test on the sample "
    "inputs). Enclose your code within delimiters as follows."
)


def worded(problem: str, starter_code: str) -> str:
    """A problem as in the published rows, which hold this wording (spec 6.4)."""
    message, code = (STARTER, starter_code) if starter_code else (STDIN, "# YOUR CODE HERE")
    return (
        f"### Question:\n{problem}\n\n### Format: {message}\n```python\n{code}\n```\n\n"
        "### Answer: (use the provided format with backticks)\n\n"
    )

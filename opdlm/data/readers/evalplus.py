"""HumanEval+ and MBPP+: EvalPlus's releases (JSON lines), and its sets on the hub (Parquet).

A release has arguments and a reference solution, but no results. The tests made of it hold the reference and compare
with what it returns when they are run, in the tests' sandbox: nothing of it runs here, and the judged program does not
see it. MBPP's own asserts, which the release also has, are no use: some want one order of a set's elements.

The sets on the hub have tests with results in them, one program of base and further tests, all of which then count.
MBPP's asserts are its base tests there.
"""

import ast
import inspect
import re
from typing import Any

from opdlm.data.readers import oracle
from opdlm.data.readers.code import humaneval
from opdlm.data.readers.mbpp_inputs import restored
from opdlm.data.readers.records import Record, RowFields

SECONDS = 30.0
"""Wall time for all tests of a task, which run the reference as well. EvalPlus gives each of up to a thousand tests a
second or more; the slowest task (HumanEval/15) took 17 s on two busy processors."""


def humaneval_plus(record: Record) -> RowFields:
    """A task of HumanEval+: HumanEval's own tests, and EvalPlus's."""
    fields = {**humaneval(record), "test_time_limit": SECONDS}
    if "plus_input" not in record.fields:
        return fields
    solution = record.text("prompt") + record.text("canonical_solution")
    return {**fields, "plus_test_list": _compared(record, solution, _arguments(record, "plus_input"))}


def mbpp(record: Record) -> RowFields:
    """A task of MBPP+ with the base tests alone, as the paper's MBPP has them."""
    if "plus_input" in record.fields:
        return {**mbpp_plus(record), "plus_test_list": []}
    asserts = [*(record.fields.get("test_imports") or []), *_asserts(record)]
    return {**mbpp_plus(record), "test_list": asserts}


def mbpp_plus(record: Record) -> RowFields:
    """A task of MBPP+."""
    if "plus_input" not in record.fields:
        return _mbpp_of_the_hub(record)
    match = re.fullmatch(r"Mbpp/(\d+)", record.text("task_id"))
    if match is None:
        raise record.error("task_id", "not Mbpp/NUMBER")
    solution = record.text("canonical_solution")
    try:
        base, plus = (restored(int(match[1]), _arguments(record, name)) for name in ("base_input", "plus_input"))
    except (TypeError, ValueError, AttributeError) as error:
        raise record.error("base_input or plus_input", f"not the arguments of this task ({error})") from None
    return {
        "question": record.text("prompt"),
        "task_id": record.text("task_id"),
        "entry_point": record.text("entry_point"),
        "test_list": _compared(record, solution, base),
        "plus_test_list": _compared(record, solution, plus) if plus else [],
        "test_time_limit": SECONDS,
        "domain": "code",
    }


def _arguments(record: Record, field: str) -> list[list[Any]]:
    inputs = record.fields.get(field) or []  # Mbpp/793 has an empty object in place of an empty list
    if not isinstance(inputs, list) or not all(isinstance(arguments, list) for arguments in inputs):
        raise record.error(field, "not a list of argument lists")
    return inputs


def _compared(record: Record, solution: str, inputs: list[list[Any]]) -> list[str]:
    """Statements that hold if the program returns what the reference returns; see `opdlm.data.readers.oracle`."""
    name, tolerance = record.text("entry_point"), record.fields.get("atol") or 0
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float):
        raise record.error("atol", f"{tolerance!r} is not a number")
    try:
        ast.parse(solution)
    except (SyntaxError, ValueError) as error:
        raise record.error("canonical_solution", f"not Python ({error})") from None
    return [
        solution,
        inspect.getsource(oracle),
        "from math import inf, nan",  # `repr` writes these names
        f"evalplus_check(candidate, {name}, {name!r}, {inputs!r}, {tolerance!r})",
    ]


def _asserts(record: Record) -> list[str]:
    tests = record.fields.get("test_list")
    if not isinstance(tests, list) or not tests or not all(isinstance(test, str) for test in tests):
        raise record.error("test_list", "missing, or not a list of asserts")
    return tests


def _mbpp_of_the_hub(record: Record) -> RowFields:
    tests = _asserts(record)
    try:
        defined = [node.name for node in ast.parse(record.text("code")).body if isinstance(node, ast.FunctionDef)]
    except (SyntaxError, ValueError) as error:
        raise record.error("code", f"not Python ({error})") from None
    entry_point = next((name for name in defined if re.search(rf"\b{name}\(", tests[0])), None)
    if entry_point is None:
        raise record.error("test_list", "calls no function that `code` defines")
    return {
        "question": f'"""\n{record.text("prompt")}\n{tests[0]}\n"""\n',  # as EvalPlus's releases word it
        "task_id": f"Mbpp/{record.fields.get('task_id')}",
        "entry_point": entry_point,
        "test_list": [record.text("test")],
        "test_time_limit": SECONDS,
        "domain": "code",
    }

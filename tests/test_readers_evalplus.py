"""HumanEval+ and MBPP+: what is right is what the reference returns, by EvalPlus's rules, and only in the sandbox."""

import ast
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from opdlm.data.readers.mbpp_inputs import restored
from opdlm.data.readers.oracle import evalplus_agrees
from opdlm.data.rows import Row
from tests.readers import BENCHMARKS, needs_benchmarks, read, refusal, written

HUMANEVAL = {
    "task_id": "HumanEval/0",
    "prompt": "def helper(x):\n    return x\n\ndef f(x):\n    '''doc'''\n",
    "entry_point": "f",
    "canonical_solution": "    return helper(x) / 3\n",
    "test": "def check(candidate):\n    assert candidate(3) == 1\n",
    "base_input": [[3]],
    "plus_input": [[1], [float("inf")]],
    "atol": 0,
}
MBPP = {
    "task_id": "Mbpp/2",
    "prompt": '"""\nFind the shared elements.\nassert set(similar_elements((1,),(1,))) == {1}\n"""\n',
    "entry_point": "similar_elements",
    "canonical_solution": "\ndef similar_elements(a, b):\n  return tuple(set(a) & set(b))\n",
    "base_input": [[[1, 2], [1]]],
    "plus_input": [[[], []], [[1, 2, 3], [3, 2]]],
    "atol": 0,
    "assertion": "\nassert similar_elements((1, 2),(1,)) == (1,)\n",
}
HUB_TEST = """import numpy as np

def is_floats(x) -> bool:
    if isinstance(x, np.ndarray):
        return x.dtype == np.float64 or x.dtype == np.float32
    return isinstance(x, float)

def assertion(out, exp, atol):
    exact_match = out == exp
    if atol == 0 and is_floats(exp):
        atol = 1e-6
    if not exact_match and atol != 0:
        assert np.allclose(out, exp, rtol=1e-07, atol=atol)
    else:
        assert exact_match

inputs = [[1], [2.0]]
results = [3, 4.0000000001]
for i, (inp, exp) in enumerate(zip(inputs, results)):
    assertion(plus_two(*inp), exp, 0)
"""
HUB_MBPP = {
    "task_id": 9,
    "prompt": "Add two.",
    "code": "import math\ndef plus_two(x):\n    return x + 2",
    "test_imports": ["import math"],
    "test_list": ["assert plus_two(1) == 3", "assert plus_two(0) == 2"],
    "test": HUB_TEST,
}


def holds(tests: list[str], program: dict[str, Any], candidate: Any = None) -> bool:
    """Whether the tests pass, run as the sandbox runs them: one after another, in one namespace."""
    namespace = {**program, "candidate": candidate}
    try:
        for test in tests:
            exec(compile(test, "<test>", "exec"), namespace)
    except AssertionError:
        return False
    return True


def judged(row: Row, function: Any) -> tuple[bool, bool]:
    assert row.entry_point is not None
    return tuple(holds(tests, {row.entry_point: function}, function) for tests in (row.test_list, row.plus_test_list))  # type: ignore[return-value]


def test_humaneval_plus_has_its_own_and_further_tests(tmp_path: Path) -> None:
    row = read("humaneval_plus", written(tmp_path / "h.jsonl.gz", HUMANEVAL))[0]
    assert row.question == HUMANEVAL["prompt"]
    assert judged(row, lambda x: x / 3) == (True, True)
    assert judged(row, lambda x: 1) == (True, False)
    assert judged(row, lambda x: x / 3 + 1e-9)[1]


def test_mbpp_plus_takes_tuples_and_any_order(tmp_path: Path) -> None:
    row = read("mbpp_plus", written(tmp_path / "m.jsonl", MBPP))[0]

    def shared(a: Any, b: Any) -> Any:
        assert type(a) is type(b) is tuple
        return sorted(set(a) & set(b), reverse=True)

    assert judged(row, shared) == (True, True)
    assert judged(row, lambda a, b: [1]) == (True, False)
    assert judged(row, lambda a, b: []) == (False, False)
    base = read("mbpp", written(tmp_path / "m.jsonl", MBPP))[0]
    assert (base.test_list, base.plus_test_list) == (row.test_list, [])


def test_an_argument_that_the_reference_changes_is_whole_for_the_program(tmp_path: Path) -> None:
    change = {"canonical_solution": "def f(x):\n    x.append(1)\n    return x", "entry_point": "f", "task_id": "Mbpp/9"}
    row = read("mbpp_plus", written(tmp_path / "m.jsonl", {**MBPP, **change, "base_input": [[[]]], "plus_input": {}}))[
        0
    ]
    assert judged(row, lambda x: [*x, 1]) == (True, True)
    assert row.plus_test_list == []


def test_the_hubs_mbpp_is_judged_by_its_own_program(tmp_path: Path) -> None:
    file = written(tmp_path / "m.parquet", HUB_MBPP)
    base, plus = read("mbpp", file)[0], read("mbpp_plus", file)[0]
    assert (base.task_id, base.entry_point) == ("Mbpp/9", "plus_two")
    assert base.question == '"""\nAdd two.\nassert plus_two(1) == 3\n"""\n'
    assert base.test_list == ["import math", "assert plus_two(1) == 3", "assert plus_two(0) == 2"]
    assert judged(plus, lambda x: x + 2)[0]
    assert not judged(plus, lambda x: 3)[0]


def test_the_hubs_humaneval_is_one_program(tmp_path: Path) -> None:
    test = HUB_TEST.replace("for i", "def check(plus_two):\n  for i").replace("    assertion(p", "      assertion(p")
    value = {name: HUMANEVAL[name] for name in ("task_id", "prompt", "canonical_solution", "entry_point")}
    row = read("humaneval_plus", written(tmp_path / "h.parquet", {**value, "test": test}))[0]
    assert judged(row, lambda x: x + 2)[0]
    assert not judged(row, lambda x: 3)[0]


@pytest.mark.parametrize(
    ("name", "result", "expected", "right"),
    [
        ("f", 1, 1, True),
        ("f", 1.0, 1.0 + 1e-9, True),
        ("f", 1.0, 1.1, False),
        ("f", 1, 1.0 + 1e-9, False),
        ("f", [1.0, 2.0], [1.0, 2.0 + 1e-9], True),
        ("f", (1.0, 2.0), [1.0, 2.0], False),
        ("f", [1.0], [1.0, 2.0], False),
        ("f", [1], [2], False),
        ("similar_elements", [2, 1], (1, 2), True),
        ("check_str", "match", True, True),
        ("check_str", None, True, False),
        ("are_equivalent", False, True, True),
        ("sum_div", 0, 7, True),
        ("sum_div", 1, 7, False),
    ],
)
def test_evalplus_rules(name: str, result: Any, expected: Any, right: bool) -> None:
    assert evalplus_agrees(name, [6], result, expected, 0) is right


def test_tasks_with_other_right_results() -> None:
    assert evalplus_agrees("find_zero", [[-6, 11, -6, 1]], 2.0, 1.0, 1e-4)
    assert not evalplus_agrees("find_zero", [[-6, 11, -6, 1]], 2.5, 1.0, 1e-4)
    assert evalplus_agrees("digit_distance_nums", [1, 256], 12, 3, 0)
    assert evalplus_agrees("surface_Area", [3, 4], 35, 33, 0)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"task_id": "2"}, "task_id: not Mbpp/NUMBER"),
        ({"base_input": [[3]]}, "base_input or plus_input: not the arguments of this task"),
        ({"plus_input": "[]"}, "plus_input: not a list of argument lists"),
        ({"plus_input": [3]}, "plus_input: not a list of argument lists"),
        ({"canonical_solution": "def"}, "canonical_solution: not Python"),
        ({"canonical_solution": None}, "canonical_solution: missing"),
        ({"atol": "0"}, "atol: '0' is not a number"),
        ({"prompt": None}, "prompt: missing"),
    ],
)
def test_a_damaged_task_is_named(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    file = written(tmp_path / "m.jsonl", MBPP, {**MBPP, **change})
    assert refusal("mbpp_plus", file).startswith(f"line 2: {problem}")


@pytest.mark.parametrize("change", [{"test_list": []}, {"code": "def"}, {"code": "x = 1"}, {"test": None}])
def test_a_damaged_task_of_the_hub_is_named(tmp_path: Path, change: dict[str, Any]) -> None:
    assert refusal("mbpp_plus", written(tmp_path / "m.jsonl", {**HUB_MBPP, **change})).startswith("line 1: ")


@needs_benchmarks
@pytest.mark.parametrize(
    ("layout", "file", "count", "further"),
    [
        ("humaneval_plus", "humaneval_plus/HumanEvalPlus.jsonl.gz", 164, 164),
        ("mbpp_plus", "mbpp_plus/MbppPlus.jsonl.gz", 378, 377),
    ],
)
def test_releases_are_read_whole(layout: str, file: str, count: int, further: int) -> None:
    rows = read(layout, BENCHMARKS / file)
    assert (len(rows), sum(bool(row.plus_test_list) for row in rows)) == (count, further)
    for row in rows:
        ast.parse("\n".join([*row.test_list, *row.plus_test_list]))


@needs_benchmarks
def test_restored_arguments_are_those_of_the_asserts() -> None:
    """The releases also have asserts in Python; nine tasks differ there, or cannot be told apart in JSON."""
    different = set()
    text = gzip.decompress((BENCHMARKS / "mbpp_plus/MbppPlus.jsonl.gz").read_bytes())
    for task in map(json.loads, text.splitlines()):
        number = int(task["task_id"].removeprefix("Mbpp/"))
        calls = [
            node
            for statement in ast.parse(task["assertion"]).body
            for node in ast.walk(statement)
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == task["entry_point"]
        ]
        try:
            written_out = [[ast.literal_eval(argument) for argument in call.args] for call in calls]
        except ValueError:  # an expression, not a literal
            continue
        if repr(written_out) != repr(restored(number, task["base_input"])):
            different.add(number)
    assert different <= {87, 98, 104, 124, 140, 145, 252, 301, 596}

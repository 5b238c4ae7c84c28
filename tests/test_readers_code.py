"""Code: tests become standard input, calls, or statements that hold a reference; hostile files are refused unread."""

import base64
import json
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opdlm.config.prompts import WORDINGS
from opdlm.data.prompts import messages
from opdlm.data.readers import livecodebench
from opdlm.data.readers.livecodebench import pickled_text
from opdlm.data.rows import Row
from tests.readers import BENCHMARKS, needs_benchmarks, read, refusal, written

PROBLEM = {
    "id": "2063/A",
    "title": "Pair",
    "description": "Given $$$l$$$,\r\nfind it.",
    "input_format": "One line.",
    "output_format": "A number.",
    "examples": [{"input": "1 2\r\n", "output": "1\n"}],
    "note": "Take $$$a=1$$$.",
    "time_limit": 1.5,
    "rating": 800,
    "input_mode": "stdio",
    "executable": True,
    "interaction_format": None,
    "generated_checker": None,
    "official_tests": [{"input": "1 2\r\n", "output": "1\r\n"}, {"input": "3\r", "output": "2"}],
}
LCB = {
    "question_id": "abc387_a",
    "question_content": "Print {N}.",
    "contest_date": "2025-01-04T00:00:00",
    "difficulty": "easy",
    "starter_code": "",
    "public_test_cases": json.dumps([{"input": "1\n", "output": "1\n", "testtype": "stdin"}]),
    "private_test_cases": json.dumps([{"input": "2\n", "output": "2\n", "testtype": "stdin"}]),
    "metadata": "{}",
}


def packed(value: Any, dump: Callable[[Any], bytes] = pickle.dumps) -> str:
    return base64.b64encode(zlib.compress(dump(value))).decode()


@pytest.mark.parametrize("name", ["c.jsonl", "c.parquet"])
def test_codeforces_is_worded_with_its_examples(tmp_path: Path, name: str) -> None:
    row = read("codeforces", written(tmp_path / name, PROBLEM))[0]
    assert row.question == (
        "Pair\n\nGiven $l$,\nfind it.\n\nInput\nOne line.\n\nOutput\nA number.\n\nExamples\n\nInput\n1 2\n\n"
        "Output\n1\n\n\nNote\nTake $a=1$."
    )
    assert (row.task_id, row.test_method, row.test_time_limit) == ("2063/A", "stdio", 6)
    assert (row.test_input, row.test_output) == (["1 2\n", "3\n"], ["1\n", "2"])
    assert messages(row, WORDINGS["stdio"])[0]["content"] == (
        f"This is the problem:\n{row.question}\nYou should put your code in ```python ```. Use input() to read input "
        "and print() to produce output in your script. "
    )


def test_codeforces_keeps_what_standard_output_can_judge(tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {"input_mode": "file"},
        {"executable": False},
        {"interaction_format": "Ask."},
        {"generated_checker": "import sys"},
        {"official_tests": []},
        {"official_tests": None},
        {"description": None},
    ]
    file = written(tmp_path / "c.jsonl", *[{**PROBLEM, **change} for change in changes], PROBLEM)
    assert len(read("codeforces", file)) == 1


def test_codeforces_null_fields_are_left_out(tmp_path: Path) -> None:
    nulls = dict.fromkeys(["title", "input_format", "output_format", "examples", "note", "time_limit", "rating"])
    row = read("codeforces", written(tmp_path / "c.jsonl", {**PROBLEM, **nulls}))[0]
    assert (row.question, row.test_time_limit) == ("Given $l$,\nfind it.", 4)
    half = {**PROBLEM, **nulls, "examples": [{"input": None, "output": "1"}]}
    assert read("codeforces", written(tmp_path / "d.jsonl", half))[0].question.endswith("Input\n\nOutput\n1")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"official_tests": [{"input": "1", "output": None}]}, "official_tests: test 1 has no input or no output"),
        ({"official_tests": "1"}, "official_tests: not a list of tests"),
        ({"time_limit": "2"}, "time_limit: '2'"),
        ({"id": None}, "id: missing"),
        ({"title": 3}, "title: "),
    ],
)
def test_a_damaged_problem_of_codeforces_is_named(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    file = written(tmp_path / "c.jsonl", PROBLEM, {**PROBLEM, **change})
    assert refusal("codeforces", file).startswith(f"line 2: {problem}")


def test_livecodebench_is_worded_as_published(tmp_path: Path) -> None:
    row = read("livecodebench", written(tmp_path / "test6.jsonl", LCB))[0]
    system, user = messages(row, WORDINGS["livecodebench"])
    assert system == {
        "role": "system",
        "content": "You are an expert Python programmer. You will be given a question (problem specification) and will "
        "generate a correct Python program that matches the specification and passes all tests. You will NOT return "
        "anything except for the program.",
    }
    assert user["content"] == (
        "### Question:\nPrint {N}.\n\n### Format: Read the inputs from stdin solve the problem and write the answer to "
        "stdout (do not directly test on the sample inputs). Enclose your code within delimiters as follows.\n"
        "```python\n# YOUR CODE HERE\n```\n\n### Answer: (use the provided format with backticks)\n\n"
    )


def test_livecodebench_functions_are_called(tmp_path: Path) -> None:
    private = json.dumps([{"input": "[2]\n3", "output": "5", "testtype": "functional"}])
    change = {"starter_code": "class Solution:\n    def f(self):", "metadata": '{"func_name": "f"}'}
    for cases in (private, packed(private)):
        row = read("livecodebench", written(tmp_path / "t.jsonl", {**LCB, **change, "private_test_cases": cases}))[0]
        assert (row.test_method, row.entry_point, row.test_time_limit) == ("call", "f", 6)
        assert (row.test_input, row.test_output) == (["1\n", "[2]\n3"], ["1\n", "5"])
    assert "\n```python\nclass Solution:\n    def f(self):\n```\n" in row.question


def test_livecodebench_is_cut_to_the_window_of_v6(tmp_path: Path) -> None:
    dates = ["2024-07-31", "2024-08-01", "2025-05-31", "2025-06-01"]
    values = [{**LCB, "question_id": date, "contest_date": f"{date}T00:00:00"} for date in dates]
    rows = read("livecodebench", written(tmp_path / "t.jsonl", *values))
    assert [row.task_id for row in rows] == dates[1:3]


def test_published_rows_of_livecodebench_have_the_same_tests(tmp_path: Path) -> None:
    for name in (None, "f"):
        tests = {"inputs": ["1"], "outputs": ["2"], "fn_name": name}
        value = {"question": "q", "ground_truth_answer": "", "input_output": json.dumps(tests), "platform": "atcoder"}
        row = read("rows", written(tmp_path / "LCB_v6.json", [value]))[0]
        assert (row.test_method, row.entry_point) == ("call" if name else "stdio", name)
        assert (row.test_input, row.test_output) == (["1"], ["2"])


class Hostile:
    """What runs a command when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return eval, (f"open({str(self.file)!r}, 'w')",)


def test_a_hostile_pickle_is_named_and_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        cases = packed(Hostile(trap), lambda value, protocol=protocol: pickle.dumps(value, protocol))
        file = written(tmp_path / "t.jsonl", LCB, {**LCB, "private_test_cases": cases})
        assert refusal("livecodebench", file).startswith("line 2: private_test_cases: ")
        assert "do not load this file" in refusal("livecodebench", file)
    assert not trap.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_pickle_of_a_text_is_read(protocol: int) -> None:
    for text in ("", '[{"input": "ß"}]', "x" * 70_000):
        assert pickled_text(pickle.dumps(text, protocol)) == text


@pytest.mark.parametrize("value", [["a"], ("a", "b"), 3, None, b"a", {"a": "b"}])
def test_no_other_pickle_is_read(value: object) -> None:
    with pytest.raises(ValueError, match="a pickle"):
        pickled_text(pickle.dumps(value))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"private_test_cases": "no base64!"}, "private_test_cases: neither JSON nor"),
        ({"private_test_cases": base64.b64encode(b"no zlib").decode()}, "private_test_cases: neither JSON nor"),
        ({"private_test_cases": packed("[]")[:16]}, "private_test_cases: neither JSON nor"),
        ({"private_test_cases": packed("no json")}, "private_test_cases: not valid JSON"),
        ({"private_test_cases": packed("{}")}, "private_test_cases: not a list of tests"),
        ({"private_test_cases": '[{"input": "1"}]'}, "private_test_cases: test 1 has no input or no output"),
        ({"private_test_cases": None}, "private_test_cases: missing"),
        ({"public_test_cases": "[1]"}, "public_test_cases: not a list of tests"),
        ({"public_test_cases": "["}, "public_test_cases: not valid JSON"),
        ({"metadata": "{"}, "metadata: not valid JSON"),
        ({"contest_date": None}, "contest_date: missing"),
        ({"question_content": 7}, "question_content: "),
    ],
)
def test_a_damaged_problem_of_livecodebench_is_named(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    file = written(tmp_path / "t.jsonl", LCB, {**LCB, **change})
    assert refusal("livecodebench", file).startswith(f"line 2: {problem}")


def test_private_tests_do_not_unpack_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(livecodebench, "MAX_BYTES", 1 << 20)
    file = written(tmp_path / "t.jsonl", {**LCB, "private_test_cases": packed("x" * (3 << 20))})
    assert "longer than 1 MB when unpacked" in refusal("livecodebench", file)


@pytest.mark.parametrize("given", ["{", "[]", '{"inputs": 3}', '{"inputs": ["1"], "outputs": []}', '{"inputs": ["1"]}'])
def test_damaged_published_tests_are_named(tmp_path: Path, given: str) -> None:
    values = [{"question": "q", "ground_truth_answer": "", "input_output": given}]
    assert refusal("rows", written(tmp_path / "LCB_v6.json", values)).startswith(
        ("row 1: input_output", "row 1: test_")
    )


@needs_benchmarks
def test_the_question_of_a_real_problem_is_worded_the_same() -> None:
    """A row of another publisher of the same prompts, which puts the system's turn in front."""
    file = BENCHMARKS / "livecodebench_sample/code_eval_live_code_bench_v1.jsonl"
    for content in (json.loads(line)["content"] for line in file.read_text().splitlines()):
        system, _, question = content.partition("\n### Question:\n")
        assert messages(Row(question="q"), WORDINGS["livecodebench"])[0]["content"] == system
        problem, _, rest = question.partition("\n\n### Format: ")
        starter = "" if "# YOUR CODE HERE" in rest else rest.partition("```python\n")[2].rpartition("\n```")[0]
        worded = livecodebench.worded(problem, starter)
        assert worded.rstrip() == f"### Question:\n{question}".rstrip()

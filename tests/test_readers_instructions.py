"""IFEval, LiveBench and ZebraLogic: rows carry what their scorers read."""

import json
from pathlib import Path
from typing import Any

import pytest

from opdlm.config.prompts import WORDINGS
from opdlm.data.prompts import messages
from tests.readers import BENCHMARKS, needs_benchmarks, read, refusal, written

IFEVAL = {
    "key": 1000,
    "prompt": "Write. No commas.",
    "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
    "kwargs": [{"num_words": None}, {"num_words": 300, "relation": "at least", "keywords": None}],
}
LIVEBENCH = {
    "question_id": "d4ec",
    "category": "math",
    "task": "olympiad",
    "subtask": "usamo",
    "turns": ["You are given a question"],
    "ground_truth": "1,6,7",
    "hardness": None,
    "expressions": "<expression 1> MC=MB",
    "livebench_release_date": "2024-08-31",
    "livebench_removal_date": "",
}
GRID = {"header": ["House", "Name"], "rows": [["1", "Ann"], ["2", "Bob"]]}


def test_ifeval_keeps_the_arguments_that_are_there(tmp_path: Path) -> None:
    row = read("ifeval", written(tmp_path / "i.jsonl", IFEVAL))[0]
    assert (row.key, row.question, row.instruction_id_list) == (1000, IFEVAL["prompt"], IFEVAL["instruction_id_list"])
    assert row.kwargs == [{}, {"num_words": 300, "relation": "at least"}]
    published = {name: value for name, value in IFEVAL.items() if name != "prompt"}
    again = read("rows", written(tmp_path / "i.json", [{**published, "question": "Write. No commas."}]))[0]
    assert again == row.model_copy(update={"domain": None})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"kwargs": [{}]}, "kwargs: 1 for 2 instructions"),
        ({"kwargs": None}, "kwargs: missing"),
        ({"kwargs": ["", ""]}, "kwargs: missing, or not a list of objects"),
        ({"instruction_id_list": "no_comma"}, "instruction_id_list: "),
        ({"instruction_id_list": []}, "instruction_id_list: "),
        ({"key": "first"}, "key: "),
        ({"prompt": 3}, "prompt: missing, or not text"),
    ],
)
def test_damaged_instructions_are_named(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    file = written(tmp_path / "i.jsonl", IFEVAL, {**IFEVAL, **change})
    assert refusal("ifeval", file).startswith(f"line 2: {problem}")


def test_livebench_keeps_what_its_scorers_read(tmp_path: Path) -> None:
    row = read("livebench", written(tmp_path / "q.jsonl", LIVEBENCH))[0]
    assert (row.question, row.ground_truth_answer) == ("You are given a question", "1,6,7")
    assert (row.livebench_category, row.livebench_task) == ("math", "olympiad")
    assert row.livebench_release_date == "2024-08-31"
    assert row.livebench == {
        "question_id": "d4ec",
        "subtask": "usamo",
        "expressions": "<expression 1> MC=MB",
        "livebench_removal_date": "",
        "ground_truth": "1,6,7",
    }


def test_a_published_row_of_livebench_is_the_same_row(tmp_path: Path) -> None:
    names = {"category": "livebench_category", "task": "livebench_task", "ground_truth": "ground_truth_answer"}
    published = {names.get(name, name): value for name, value in LIVEBENCH.items() if name != "turns"}
    published["question"] = LIVEBENCH["turns"][0]
    row = read("rows", written(tmp_path / "LiveBench.json", [published]))[0]
    assert row == read("livebench", written(tmp_path / "q.jsonl", LIVEBENCH))[0]


def test_livebenchs_code_is_judged_by_its_tests(tmp_path: Path) -> None:
    cases = [[{"input": "[1]", "output": "2", "testtype": "functional"}], [{"input": "[2]", "output": "3"}]]
    value = {
        **LIVEBENCH,
        "category": "coding",
        "task": "coding_completion",
        "partial_solution": "class Solution:",
        "public_test_cases": json.dumps(cases[0]),
        "private_test_cases": json.dumps(cases[1]),
        "original_json": {"metadata": '{"func_name": "plus"}'},
    }
    row = read("livebench", written(tmp_path / "q.jsonl", value))[0]
    assert (row.test_method, row.entry_point) == ("call", "plus")
    assert (row.test_input, row.test_output) == (["[1]", "[2]"], ["2", "3"])
    assert row.livebench["partial_solution"] == "class Solution:"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"turns": []}, "turns: "),
        ({"turns": None}, "turns: "),
        ({"turns": [" "]}, "question: empty"),
        ({"task": None}, "livebench_task: "),
        ({"private_test_cases": "[]"}, "public_test_cases: "),
        ({"public_test_cases": "[]", "private_test_cases": "[]", "original_json": "{"}, "original_json: "),
    ],
)
def test_damaged_rows_of_livebench_are_named(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    file = written(tmp_path / "q.jsonl", LIVEBENCH, {**LIVEBENCH, **change})
    if problem.startswith("original"):
        problem = "original_json: "
    assert refusal("livebench", file).startswith(f"line 2: {problem}")


@pytest.mark.parametrize("gold", [GRID, json.dumps(GRID)])
def test_zebralogic_keeps_its_table(tmp_path: Path, gold: object) -> None:
    file = written(tmp_path / "z.json", [{"question": "Who?", "ground_truth_answer": gold, "subdivision": "2*2"}])
    row = read("zebralogic", file)[0]
    assert json.loads(row.ground_truth_answer) == GRID
    assert messages(row, WORDINGS["raw"])[0]["content"] == "Who?"


@pytest.mark.parametrize(
    "gold", [None, "", "{", [], {"header": ["House"]}, {**GRID, "rows": [["1"]]}, {**GRID, "rows": []}, {"rows": 3}]
)
def test_no_other_solution_is_zebralogics(tmp_path: Path, gold: object) -> None:
    values = [{"question": "Who?", "ground_truth_answer": value} for value in (GRID, gold)]
    assert refusal("zebralogic", written(tmp_path / "z.json", values)).startswith("row 2: ground_truth_answer: ")


@needs_benchmarks
def test_real_ifeval() -> None:
    rows = read("ifeval", BENCHMARKS / "ifeval/input_data_541.jsonl")
    assert len(rows) == len({row.key for row in rows}) == 541
    assert rows[0].kwargs == [{}, {"num_highlights": 3}, {"relation": "at least", "num_words": 300}]
    assert messages(rows[0], WORDINGS["raw"])[0]["content"] == rows[0].question


@needs_benchmarks
def test_real_livebench() -> None:
    files = sorted((BENCHMARKS / "livebench").glob("*.jsonl"))
    rows = [row for file in files for row in read("livebench", file)]
    assert (len(files), len(rows)) == (13, 1118)
    for row in rows:
        assert row.ground_truth_answer or (row.instruction_id_list and len(row.kwargs) == len(row.instruction_id_list))
    assert {row.livebench_category for row in rows} == {"data_analysis", "instruction_following", "math", "reasoning"}

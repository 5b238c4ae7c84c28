"""Multiple choice: questions end with their options, one a line, and nothing else of them changes."""

import csv
import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from opdlm.config.prompts import WORDINGS
from opdlm.data.prompts import messages
from tests.readers import BENCHMARKS, needs_benchmarks, read, refusal, written

PRO = {"question": "Which?", "options": ["x", "y", "z"], "answer": "C", "answer_index": 2, "category": "math"}
GPQA = {
    "Record ID": "rec1",
    "Question": "Name (E)-2-butene, please.\n",
    "Correct Answer": "right\n",
    "Incorrect Answer 1": "one",
    "Incorrect Answer 2": "two",
    "Incorrect Answer 3": "three",
    "High-level domain": "Chemistry",
}


def table(path: Path, *rows: dict[str, Any]) -> Path:
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize("name", ["p.jsonl", "p.parquet"])
def test_mmlu_pro_has_as_many_options_as_the_question(tmp_path: Path, name: str) -> None:
    row = read("mmlu_pro", written(tmp_path / name, PRO))[0]
    assert (row.question, row.ground_truth_answer, row.options) == ("Which?\nA. x\nB. y\nC. z", "C", 3)
    assert row.subdivision == "math"


def test_gpqa_is_shuffled_the_same_way_for_everybody(tmp_path: Path) -> None:
    more = [{**GPQA, "Question": f"Question {number}?"} for number in range(40)]
    rows = read("gpqa", table(tmp_path / "g.csv", GPQA, *more))
    for row in rows:
        assert f"{row.ground_truth_answer}. right" in row.question.splitlines()
        assert sorted(line[3:] for line in row.question.splitlines()[1:]) == ["one", "right", "three", "two"]
    assert rows[0].question == "Name (E)-2-butene, please.\nA. right\nB. two\nC. one\nD. three"
    assert {row.ground_truth_answer for row in rows} == set("ABCD")
    assert read("gpqa", table(tmp_path / "h.csv", *more, GPQA))[-1] == rows[0]


def test_ceval_is_read_from_the_validation_tables(tmp_path: Path) -> None:
    file = tmp_path / "c.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("val/law_val.csv", "id,question,A,B,C,D,answer\n0,下列____。,甲,乙,丙,丁,D\n")
        archive.writestr("test/law_test.csv", "id,question,A,B,C,D\n0,q,1,2,3,4\n")
    row = read("ceval", file)[0]
    assert (row.question, row.ground_truth_answer) == ("下列____。\nA. 甲\nB. 乙\nC. 丙\nD. 丁", "D")
    assert row.subdivision == "law"


def test_of_published_questions_only_the_options_marks_change(tmp_path: Path) -> None:
    question = "Compare (A) and\n(B) below with (E)-2-butene.\n(A) x (B)\n (B) (A) y\n(C) z"
    row = read("rows", written(tmp_path / "a.json", [{"question": question, "ground_truth_answer": "B"}]))[0]
    assert row.question == "Compare (A) and\n(B) below with (E)-2-butene.\nA. x (B)\nB. (A) y\nC. z"
    assert row.options == 3


def test_a_published_language_is_the_subdivision(tmp_path: Path) -> None:
    value = {"question": "¿Cuál?\nA. x\nB. y", "ground_truth_answer": "A", "subdivision": "es"}
    row = read("rows", written(tmp_path / "a.json", [value]))[0]
    assert (row.subdivision, row.question, row.options) == ("es", value["question"], 2)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"options": None}, "line 2: options: missing"),
        ({"options": ["x", 3]}, "line 2: options: missing, or not a list of texts"),
        ({"answer": "D"}, "line 2: answer: 'D' is not the letter of one of 3 options"),
        ({"answer": ""}, "line 2: answer: ''"),
        ({"question": None}, "line 2: question: missing"),
        ({"options": ["x"] * 11}, "line 2: answer"),
    ],
)
def test_a_damaged_question_is_named(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    assert refusal("mmlu_pro", written(tmp_path / "p.jsonl", PRO, {**PRO, **change})).startswith(problem)


@pytest.mark.parametrize("line", ["q,1,2,3,D", "q,1,2,3,4,", "q,1,2,3,4,E", "q,1,2,3,4,D,more"])
def test_a_damaged_table_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "m.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("test/art_test.csv", f"q,1,2,3,4,A\n{line}\n")
    assert refusal("mmlu", file).startswith("test/art_test.csv row 2: answer: ")


def test_a_cut_table_is_named(tmp_path: Path) -> None:
    file = table(tmp_path / "g.csv", GPQA, GPQA)
    file.write_text(file.read_text()[:-40])
    assert refusal("gpqa", file).startswith("row 2: Correct Answer: missing")
    cut = written(tmp_path / "p.parquet", PRO)
    cut.write_bytes(cut.read_bytes()[:-9])
    assert "truncated or corrupt" in refusal("mmlu_pro", cut)


@needs_benchmarks
def test_real_mmlu_pro() -> None:
    file = BENCHMARKS / "mmlu_pro/questions_1000.jsonl.gz"
    rows, values = (
        read("mmlu_pro", file),
        [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()],
    )
    assert len(rows) == 1000
    for row, value in zip(rows, values, strict=True):
        assert row.ground_truth_answer == value["answer"]
        right = value["options"][value["answer_index"]]
        assert row.question.startswith(value["question"])
        assert f"\n{value['answer']}. {right}" in row.question
    assert messages(rows[0], WORDINGS["choice"])[0]["content"] == (
        "What is 60% of 30?\nA. 80\nB. 0.18\nC. 180\nD. 1800\nE. 8\nF. 800\nG. 3\nH. 18000\nI. 18\nJ. 1.8\n"
        'Please show your choice in the answer field with only the choice letter, e.g., "answer": "C".'
    )


@needs_benchmarks
def test_real_ceval() -> None:
    rows = read("ceval", BENCHMARKS / "ceval/ceval.zip")
    assert len(rows) == 1346
    assert len({row.subdivision for row in rows}) == 52
    assert rows[3].question == (
        "税务行政复议的申请人可以在得知税务机关作出具体行政行为之日起____日内提出行政复议申请。"
        "\nA. 60\nB. 30\nC. 7\nD. 3"
    )
    assert rows[3].ground_truth_answer == "A"

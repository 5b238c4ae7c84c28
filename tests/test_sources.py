"""Every layout gives the rows of its benchmark; every damaged file is named together with the place."""

import ast
import zipfile

import pytest

from opdlm.data.rows import Row
from opdlm.errors import DataError
from tests.readers import BENCHMARKS, needs_benchmarks, read, written


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_rows_are_read_as_they_were_written(tmp_path, name):
    rows = [Row(question="q", ground_truth_answer="1", domain="math"), Row(question="r", test_list=["assert f(1)"])]
    file = written(tmp_path / name, *[row.model_dump() for row in rows])
    assert read("rows", file) == rows
    assert read("rows", file, 1) == rows[:1]


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_published_lists_are_mapped_onto_our_schema(tmp_path, name):
    values = [
        {"question": "Sum?", "ground_truth_answer": 25, "source": "DAPO", "domain": "math", "tests_json": "{}"},
        {"question": "Which?\n(A) x\n(B) y\n(C) z", "ground_truth_answer": "B", "subdivision": "de", "domain": None},
        {"question": "f", "ground_truth_answer": ["a", "b"], "test_list": ["assert f()"], "test_time_limit": 2},
    ]
    number, choice, code = read("rows", written(tmp_path / name, values))
    assert (number.ground_truth_answer, number.domain) == ("25", "math")
    assert (choice.options, choice.subdivision) == (3, "de")
    assert (code.test_list, code.test_time_limit, code.ground_truth_answer) == (["assert f()"], 2.0, '["a", "b"]')


def test_gsm8k_gold_is_what_follows_the_mark_without_commas(tmp_path):
    file = written(tmp_path / "g.jsonl", {"question": "q", "answer": "So <<1=1>>1.\n#### 1,234"})
    assert read("gsm8k", file)[0].ground_truth_answer == "1234"


def test_mmlu_options_become_lines_of_the_question(tmp_path):
    file = tmp_path / "m.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data/test/zoology_test.csv", 'Which?,"a, b",c,d,e,D\n')
        archive.writestr("data/test/art_test.csv", "What (A)?,1,2,3,4,A\n")
        archive.writestr("data/dev/art_dev.csv", "no,1,2,3,4,A\n")
    first, second = read("mmlu", file)
    assert (first.subdivision, first.question) == ("art", "What (A)?\nA. 1\nB. 2\nC. 3\nD. 4")
    assert (second.subdivision, second.ground_truth_answer, second.options) == ("zoology", "D", 4)
    assert second.question == "Which?\nA. a, b\nB. c\nC. d\nD. e"


def test_humaneval_tests_bring_the_helpers_of_the_prompt_but_not_the_solution(tmp_path):
    value = {
        "task_id": "H/0",
        "prompt": "import math\ndef helper(x):\n    return x\n\ndef f(x):\n    '''doc'''\n",
        "entry_point": "f",
        "test": "\nMETADATA = {}\ndef check(candidate):\n    assert candidate(1) == helper(1)\n",
    }
    row = read("humaneval", written(tmp_path / "h.jsonl.gz", value))[0]
    assert row.question == value["prompt"]
    assert (row.entry_point, row.task_id) == ("f", "H/0")
    code = "\n".join(row.test_list)
    defined = [node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)]
    assert defined == ["helper", "check"]
    assert code.endswith("check(f)")


@pytest.mark.parametrize(
    ("layout", "content", "place"),
    [
        ("rows", '{"question": "q"}\n{"question": "q", "colour": 1}\n', "line 2: colour"),
        ("rows", '{"question": "q"}\n{"question": "q', "line 2"),
        ("rows", '[{"question": "q"}, {"question": 3}]', "row 2: question"),
        ("rows", '[{"question": "q"}', "not valid JSON"),
        ("rows", '{"question": " "}\n', "line 1: question"),
        ("rows", "", "no rows"),
        ("rows", "[]", "no rows"),
        ("gsm8k", '{"question": "q", "answer": "no mark"}\n', "line 1: answer"),
        ("gsm8k", '{"question": "q"}\n', "line 1: answer"),
        ("math500", '{"problem": "p"}\n', "line 1: answer"),
        ("mmlu", "not a zip", "corrupt"),
        ("humaneval", '{"task_id": "a", "prompt": "def", "entry_point": "f", "test": ""}\n', "line 1: prompt"),
    ],
)
def test_damaged_files_are_named_with_the_place(tmp_path, layout, content, place):
    file = tmp_path / "damaged"
    file.write_text(content)
    with pytest.raises(DataError) as caught:
        read(layout, file)
    assert str(file) in str(caught.value)
    assert place in str(caught.value)


@pytest.mark.parametrize("layout", ["rows", "gsm8k", "math500", "mmlu", "humaneval"])
def test_missing_files_are_named(tmp_path, layout):
    with pytest.raises(DataError, match="gone"):
        read(layout, tmp_path / "gone")


def test_truncated_gzip_is_an_error(tmp_path):
    file = written(tmp_path / "a.jsonl.gz", *[{"question": f"question {number}"} for number in range(1000)])
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match="corrupt"):
        read("rows", file)


@needs_benchmarks
@pytest.mark.parametrize(
    ("layout", "file", "count"),
    [
        ("gsm8k", "gsm8k/test.jsonl", 1319),
        ("gsm8k", "gsm8k/train.jsonl.gz", 7473),
        ("math500", "math500/test.jsonl", 500),
        ("mmlu", "mmlu/mmlu.zip", 14042),
        ("humaneval", "humaneval/HumanEval.jsonl.gz", 164),
    ],
)
def test_public_releases_are_read_whole(layout, file, count):
    rows = read(layout, BENCHMARKS / file)
    assert len(rows) == count
    assert all(row.ground_truth_answer or row.test_list for row in rows)

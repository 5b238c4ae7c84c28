"""LiveBench: each task by its own rule. The cases are made from the rules of LiveBench's repository."""

import pytest

from opdlm.data.rows import Row
from opdlm.errors import DataError
from opdlm.evaluate.scorers import livebench
from opdlm.evaluate.scorers.livebench.extraction import boxed, edit_distance
from opdlm.records import Sample
from opdlm.verdicts import Verdict


def row(task: str, gold: object = None, question: str = "q", release: str = "2024-06-24", **fields: object) -> Row:
    return Row(
        question=question,
        livebench_task=task,
        livebench_release_date=release,
        livebench={"ground_truth": gold},
        **fields,
    )


def judged(row: Row, text: str, finish: str = "stop") -> Verdict:
    sample = Sample(index=0, seed=0, prompt_tokens=1, ids=[1], steps=[0], text=text, finish=finish)
    return livebench.score([row], [sample])[0]


def share(row: Row, text: str) -> float:
    return judged(row, text).score


def test_instructions_score_the_mean_of_all_and_of_the_share_followed():
    pytest.importorskip("langdetect", reason="langdetect is not installed")
    task = row(
        "simplify",
        instruction_id_list=["startend:quotation", "detectable_format:title"],
        kwargs=[{"num_words": None}, {}],
    )
    assert [share(task, text) for text in ('"<<T>> a"', '"a"', "a")] == [1, 0.25, 0]
    assert "1/2 strict" in judged(task, '"a"').detail


def test_programs_are_judged_by_their_tests_and_may_go_on_from_a_beginning():
    task = row("coding_completion", entry_point="f", test_list=["assert f(2) == 4"])
    task.livebench["partial_solution"] = "def f(x):"
    assert judged(task, "```python\n    return 2 * x\n```").correct
    assert judged(task, "```python\ndef f(x):\n    return 2 * x\n```").correct
    assert judged(task, "```python\n    return x\n```").reason == "wrong"


def test_answers_to_several_tasks_keep_their_order():
    rows = [row("LCB_generation", entry_point="f", test_list=["assert f(2) == 4"]), row("typos", "a b")]
    texts = ["a b", "```python\ndef f(x):\n    return 2 * x\n```"]
    samples = [
        Sample(index=index, seed=0, prompt_tokens=1, ids=[1], steps=[0], text=text, finish="stop")
        for index, text in zip((1, 0), texts, strict=True)
    ]
    assert [(each.index, each.correct) for each in livebench.score(rows, samples)] == [(1, True), (0, True)]


def test_more_than_half_is_correct_and_half_is_not():
    task = row("olympiad", "1,2,3,4")
    assert [(judged(task, f"Answer: {text}").correct) for text in ("1,2,3,9", "1,2,8,9")] == [True, False]


@pytest.mark.parametrize(("finish", "reason"), [("stop", "no_answer"), ("length", "truncated")])
def test_a_text_without_an_answer_is_told_from_a_wrong_one(finish, reason):
    for task, text in ((row("spatial", "3"), "It is 3"), (row("typos", "a"), " ")):
        assert judged(task, text, finish).reason == reason


@pytest.mark.parametrize(
    ("damaged", "words"),
    [
        (row("zebra_puzzles", "a"), "row 0: LiveBench task 'zebra_puzzles' is unknown"),
        (row("spatial"), r"row 0 \(spatial\) has no ground truth"),
        (row("connections", "a,b", release=""), "no release date"),
        (row("LCB_generation"), r"row 0 \(LCB_generation\) has no tests"),
        (row("simplify"), "row 0 has 0 instructions"),
        (row("olympiad", "one,two"), r"row 0 \(olympiad\) is damaged"),
        (row("tablejoin", "{'a'"), r"row 0 \(tablejoin\) is damaged"),
        (row("tablereformat", "a", "Convert this."), r"row 0 \(tablereformat\) is damaged"),
    ],
)
def test_a_row_that_cannot_be_judged_is_an_error_and_not_a_zero(damaged, words):
    with pytest.raises(DataError, match=words):
        judged(damaged, "**3** 1, 2")


def test_boxes_are_read_as_livebench_reads_them():
    texts = ["\\boxed{a_{1}} b", "\\boxed 5$ so", "\\fbox{3}", "\\boxed{a", "\\boxed{1} \\boxed{$2$}", "none"]
    assert [boxed(text) for text in texts] == ["a_{1}", "5", "3", None, "2", None]


def test_edit_distance_counts_insertions_deletions_and_replacements():
    pairs = [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("abc", "abc", 0), ([1, 2, 3], [2, 3, 1], 2)]
    assert [edit_distance(first, second) for first, second, _ in pairs] == [distance for *_, distance in pairs]

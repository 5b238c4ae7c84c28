"""Mathematics: answers of AIME are integers however they are written; LiveMathBench has two languages."""

from pathlib import Path

import pytest

from opdlm.config.prompts import WORDINGS
from opdlm.data.prompts import messages
from tests.readers import BENCHMARKS, needs_benchmarks, read, refusal, written


@pytest.mark.parametrize(
    ("answer", "gold"), [("204", "204"), (70.0, "70"), ("025", "25"), (0, "0"), ("70.0", "70"), (999, "999")]
)
def test_aime_answers_are_integers(tmp_path: Path, answer: object, gold: str) -> None:
    assert (
        read("aime", written(tmp_path / "a.jsonl", {"problem": "p", "answer": answer}))[0].ground_truth_answer == gold
    )


@pytest.mark.parametrize("answer", [None, "", "x", 1.5, 1000, -1, True, [70], "nan", "inf"])
def test_no_other_answer_is_aimes(tmp_path: Path, answer: object) -> None:
    file = written(tmp_path / "a.jsonl", {"question": "q", "answer": 1}, {"question": "q", "answer": answer})
    assert refusal("aime", file).startswith("line 2: answer: ")


def test_livemathbench_is_worded_in_its_language(tmp_path: Path) -> None:
    value = {"question": "1 + 1 = {x}?", "answer": "$2$"}
    english = read("livemathbench", written(tmp_path / "v202412_hard_en.jsonl", value))[0]
    chinese = read("livemathbench", written(tmp_path / "a.jsonl", {**value, "subdivision": "hard_cn"}))[0]
    assert messages(english, WORDINGS["livemathbench"])[0]["content"] == (
        "Here is a math question, please reasoning step by step, and put your answer in \\boxed{}.\n1 + 1 = {x}?\n"
    )
    assert messages(chinese, WORDINGS["livemathbench"])[0]["content"] == (
        "下面是一个数学问题，请逐步推理，并把最终答案放置于\\boxed{}中。\n1 + 1 = {x}?\n"
    )
    assert refusal("livemathbench", written(tmp_path / "b.jsonl", value)).startswith("line 1: subdivision")


@needs_benchmarks
@pytest.mark.parametrize(
    ("file", "first"),
    [
        ("aime2024/test.jsonl", "204"),
        ("aime2025/test.jsonl", "70"),
        ("aime2025/zhuofeng_aime25_test.jsonl", "70"),
    ],
)
def test_real_aime(file: str, first: str) -> None:
    rows = read("aime", BENCHMARKS / file)
    assert len(rows) == 30
    assert rows[0].ground_truth_answer == first
    assert messages(rows[0], WORDINGS["math"])[0]["content"].endswith(
        "\nPlease reason step by step, and put your final answer within \\boxed{}."
    )


@needs_benchmarks
def test_both_copies_of_aime_2025_have_the_same_answers() -> None:
    one, other = (read("aime", BENCHMARKS / "aime2025" / name) for name in ("test.jsonl", "zhuofeng_aime25_test.jsonl"))
    assert sorted(row.ground_truth_answer for row in one) == sorted(row.ground_truth_answer for row in other)

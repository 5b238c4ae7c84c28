"""Right answers score; wrong, absent and cut-off ones do not, and the reason is told."""

import random
import re

import pytest

from opdlm.config.data import Source
from opdlm.data.rows import Row
from opdlm.data.sources import read_file
from opdlm.errors import DataError
from opdlm.evaluate.scorers import code
from opdlm.evaluate.scorers.registry import SCORERS
from opdlm.records import Sample
from tests.readers import BENCHMARKS, needs_benchmarks
from tests.test_code_answers import GOOD

FILES = {
    "gsm8k": "gsm8k/test.jsonl",
    "math500": "math500/test.jsonl",
    "mmlu": "mmlu/mmlu.zip",
}


def sample(text: str, index: int = 0, finish: str = "stop") -> Sample:
    return Sample(index=index, seed=0, prompt_tokens=1, ids=[1], steps=[0], text=text, finish=finish)


def reason(kind: str, row: Row, text: str, finish: str = "stop") -> str:
    return SCORERS[kind]([row], [sample(text, finish=finish)])[0].reason


def public(layout: str) -> list[Row]:
    return read_file(Source(layout=layout, file=FILES[layout]), BENCHMARKS / FILES[layout], None)


def judged(kind: str, rows: list[Row], texts: list[str]) -> list[int]:
    """Indices of the rows whose answers are correct."""
    verdicts = SCORERS[kind](rows, [sample(text, index) for index, text in enumerate(texts)])
    assert [verdict.index for verdict in verdicts] == list(range(len(rows)))
    assert all(verdict.score == float(verdict.correct) for verdict in verdicts)
    return [verdict.index for verdict in verdicts if verdict.correct]


# Multiple choice; see test_choice.py for the ways of saying so


@pytest.mark.parametrize(
    ("text", "finish", "expected"),
    [
        ('"answer": "B"', "stop", "correct"),
        ('"answer": "B" and more', "length", "correct"),
        ('"answer": "D"', "stop", "wrong"),
        ("Let us see", "stop", "no_answer"),
        ("Let us see", "length", "truncated"),
    ],
)
def test_choices_are_judged(text, finish, expected):
    assert reason("choice", Row(question="q", ground_truth_answer="B", options=4), text, finish) == expected


@needs_benchmarks
def test_mmlu_golds_are_correct_and_shuffled_ones_score_by_chance():
    rows = public("mmlu")
    golds = [row.ground_truth_answer for row in rows]
    for wording in ('A is false. "answer": "{}"', "Not A. The answer is ({}).", "\\boxed{{{}}}", "答案是{}。"):
        assert len(judged("choice", rows, [wording.format(gold) for gold in golds])) == 14042
    random.Random(0).shuffle(golds)
    assert 0.23 < len(judged("choice", rows, [f'"answer": "{gold}"' for gold in golds])) / 14042 < 0.27


# Code

CODE_ROW = Row(question="Double.", entry_point="f", test_list=["assert f(2) == 4"], test_time_limit=2)


@pytest.mark.parametrize(
    ("value", "correct", "detail"),
    [
        ("2 * x", True, "plus: passed"),
        ("4", True, "plus: failed; wrong, AssertionError in: assert f.3. == 6"),
        ("1 // (3 - x) and 4", True, "plus: failed; runtime_error, ZeroDivisionError.*"),
        ("3", False, "plus: failed; AssertionError in: assert f.2. == 4"),
    ],
)
def test_further_tests_are_told_apart_and_do_not_decide(value, correct, detail):
    row = CODE_ROW.model_copy(update={"plus_test_list": ["assert f(3) == 6"]})
    [verdict] = code.score([row], [sample(f"```python\ndef f(x):\n    return {value}\n```")])
    assert verdict.correct == correct
    assert re.fullmatch(detail, verdict.detail)


@pytest.mark.parametrize(
    ("text", "finish", "expected"),
    [
        (f"```python\n{GOOD}\n```", "stop", "correct"),
        (f"```python\n{GOOD}", "length", "correct"),
        ("```python\ndef f(x):\n    return (2 *", "length", "truncated"),
        ("```python\ndef f(x):\n    return (2 *\n```", "stop", "syntax_error"),
        ("Let me think", "length", "truncated"),
        ("No idea.", "stop", "no_answer"),
        ("```python\ndef f(x):\n    return 3\n```", "stop", "wrong"),
        ("```python\ndef f(x):\n    return y\n```", "stop", "runtime_error"),
        ("```python\ndef f(x):\n    while True: pass\n```", "stop", "timeout"),
    ],
)
def test_programs_are_judged(text, finish, expected):
    assert reason("code", CODE_ROW, text, finish) == expected


@pytest.mark.parametrize("tests", [[], ["assert f("]])
def test_a_row_without_usable_tests_is_an_error_and_not_a_pass(tests):
    with pytest.raises(DataError, match="row 0"):
        reason("code", Row(question="q", entry_point="f", test_list=tests), GOOD)

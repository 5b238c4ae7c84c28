"""While it trains, answers are judged as the scorers of the benchmarks do; a judge that fails stops nothing."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opdlm.data.rows import Row
from opdlm.data.tiny import rows as tiny_rows
from opdlm.distill.judging import JudgeProcess, questions
from opdlm.distill.tally import Update
from opdlm.distill.trainer import Trainer
from opdlm.errors import TrainingError
from opdlm.evaluate.scorers import choice, math
from opdlm.model.checkpoint import load_tokenizer
from opdlm.records import Sample
from tests.family import Family, small_stage
from tests.test_metrics import lines, of_kind, trained

JUDGE = "opdlm.evaluate.judge"


def test_questions_are_those_of_the_answers(family: Family) -> None:
    trainer = Trainer(small_stage(), family.teacher, family.student, family.prompts, "cpu")
    tokenizer = load_tokenizer(family.student)
    for row, answer in zip(questions(trainer, 3), trainer.write_answers(3), strict=True):
        assert row.question in tokenizer.decode(answer.prompt)


def knows_mathematics(rows: list[Row], texts: list[str]) -> list[bool | None]:
    """Right is whoever answers an even question; programs it cannot judge."""
    return [len(row.question) % 2 == 0 if row.domain == "math" else None for row in rows]


def test_accuracy_is_that_of_the_answers_that_can_be_judged(family: Family, tmp_path: Path) -> None:
    rollouts = of_kind(trained(family, tmp_path, knows_mathematics), "rollout")
    trainer = Trainer(small_stage(), family.teacher, family.student, family.prompts, "cpu")
    for record in rollouts:
        judged = [v for v in knows_mathematics(questions(trainer, record["rollout"]), []) if v is not None]
        assert record["scorable"] == len(judged) / 4
        assert record["accuracy"] == (np.mean(judged) if judged else None)
        assert record["accuracy_by_domain"] == ({"math": np.mean(judged)} if judged else {})


def test_answers_are_judged_while_the_updates_run(family: Family, tmp_path: Path) -> None:
    updating = threading.Event()

    def waits(rows: list[Row], texts: list[str]) -> list[bool | None]:
        assert updating.wait(timeout=60)
        return [True] * len(rows)

    original = Trainer.update

    def update(self: Trainer, *given: Any) -> Update:
        updating.set()
        return original(self, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "update", update)
        [record] = of_kind(trained(family, tmp_path, waits, rollouts=1), "rollout")
    assert record["accuracy"] == 1.0


def test_a_judge_that_fails_does_not_stop_training(
    family: Family, tmp_path: Path, finished: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(rows: list[Row], texts: list[str]) -> list[bool | None]:
        raise TrainingError("it has died")

    with caplog.at_level(logging.WARNING):
        records = trained(family, tmp_path, fails)
    assert "the answers of this rollout are not judged: it has died" in caplog.text
    assert all(record["scorable"] is record["accuracy"] is None for record in of_kind(records, "rollout"))
    assert of_kind(records, "update") == of_kind(lines(finished / "out" / "metrics.jsonl"), "update")


@pytest.fixture
def judge() -> Iterator[JudgeProcess]:
    with JudgeProcess(JUDGE) as judge:
        yield judge


def sample(index: int, text: str) -> Sample:
    return Sample(index=index, seed=0, prompt_tokens=1, ids=[1], steps=[1], text=text, finish="stop")


MATH = [
    ("1/2", r"so \boxed{\frac{1}{2}}"),
    ("1/2", r"so \boxed{2}"),
    ("12", "the answer is 12"),
    ("12", r"\boxed{012.0}"),
    ("12", r"\boxed{}"),
    ("3", "\\boxed{" + "1+" * 2000 + "1}"),
]
CHOICE = [("B", '"answer": "B"'), ("B", '"answer": "C"'), ("(C)", "The answer is C."), ("A", "no idea")]


def test_answers_are_judged_as_the_benchmarks_scorers_do(judge: JudgeProcess) -> None:
    mathematics = [Row(question="q", ground_truth_answer=gold, domain="math") for gold, _ in MATH]
    choices = [Row(question="q", ground_truth_answer=gold, domain="science", options=4) for gold, _ in CHOICE]
    verdicts = [
        *math.score(mathematics, [sample(index, text) for index, (_, text) in enumerate(MATH)]),
        *choice.score(choices, [sample(index, text) for index, (_, text) in enumerate(CHOICE)]),
    ]
    given = judge([*mathematics, *choices], [text for _, text in MATH + CHOICE])
    assert given == [verdict.correct for verdict in verdicts]
    assert True in given
    assert False in given


def test_what_cannot_be_judged(judge: JudgeProcess) -> None:
    rows = [
        Row(question="without a reference", domain="math"),
        Row(question="a reference that is no expression", ground_truth_answer="$", domain="math"),
        Row(question="a talk", ground_truth_answer="hello", domain="chat"),
        Row(question="science without a letter", ground_truth_answer="carbon", domain="science"),
        *tiny_rows(["TinyCode"], "train", 1, seed=0),
        Row(question="a row without a domain is mathematics", ground_truth_answer="7"),
    ]
    assert judge(rows, [r"\boxed{7}"] * 6) == [None, None, None, None, None, True]


def test_a_judge_outlives_a_signal_and_is_started_again_when_it_is_killed(judge: JudgeProcess) -> None:
    row = Row(question="q", ground_truth_answer="A", domain="science")
    assert judge([row], ['"answer": "A"']) == [True]
    assert judge.worker is not None
    os.kill(judge.worker.pid, signal.SIGTERM)
    assert judge([row], ['"answer": "A"']) == [True]
    judge.worker.kill()
    with pytest.raises(TrainingError, match=r"opdlm\.evaluate\.judge has died"):
        judge([row], ['"answer": "A"'])
    assert judge([row], ['"answer": "B"']) == [False]

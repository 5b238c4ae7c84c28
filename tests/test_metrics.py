"""What training reports: losses by masked fraction, right answers, where the time goes, and who is told."""

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import tracking
from accelerate.tracking import GeneralTracker
from accelerate.utils import LoggerType
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from opdlm.data.rows import Row
from opdlm.data.tiny import rows as tiny_rows
from opdlm.decode.request import Rollout
from opdlm.distill import flops
from opdlm.distill.checkpoint import Progress
from opdlm.distill.judging import Judge, JudgeProcess, questions
from opdlm.distill.loop import train
from opdlm.distill.meter import PHASES, Meter
from opdlm.distill.preemption import StoppedError
from opdlm.distill.ranks import Ranks
from opdlm.distill.rows import Answer, Pack, TrainingRow, training_row
from opdlm.distill.states import realised_state
from opdlm.distill.tally import Tally, Update, by_tenth, masked_fraction
from opdlm.distill.trainer import Trainer
from opdlm.errors import SettingsError, TrainingError
from opdlm.evaluate.scorers import choice, math
from opdlm.model.attention import causal
from opdlm.model.checkpoint import load_tokenizer
from opdlm.records import Sample
from tests.family import Family, small_stage
from tests.strikes import TRAINER, Strike

JUDGE = "opdlm.evaluate.judge"


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def trained(family: Family, folder: Path, judge: Judge | None = None, **changes: Any) -> list[dict[str, Any]]:
    """Records of a run's metrics."""
    state, out = folder / "state", folder / "out"
    train(small_stage(**changes), family.teacher, family.student, family.prompts, state, out, judge=judge)
    return lines(out / "metrics.jsonl")


def of_kind(records: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [record for record in records if record["kind"] == kind]


# Losses by masked fraction


def test_losses_are_averaged_within_tenths_and_empty_tenths_are_left_out() -> None:
    found = by_tenth([1.0, 3.0, 5.0, 7.0, 9.0], [0.05, 0.09, 0.3, 0.95, 1.0])
    assert found == {"0.0-0.1": 2.0, "0.3-0.4": 5.0, "0.9-1.0": 8.0}


def test_the_masked_fraction_is_that_of_the_answers_own_tokens() -> None:
    answer = Rollout([5] * 6, [1, 2, 3, 4], [1, 2, 3, 4], [7, 7], [5, 6], "stop")
    # Blocks of four from position 4: two tokens of the prompt, four of the answer, two behind it.
    ids = np.array([5] * 4 + [5] * 4 + [5, 5, 1, 99, 99, 4, 99, 99])
    positions = np.array([*range(8), *range(4, 12)])
    row = TrainingRow(ids, positions, np.arange(16) >= 8, np.array([11, 12]), np.array([1, 2]))
    assert masked_fraction(row, answer, mask_token=99) == 0.5


def updated(family: Family, **changes: Any) -> tuple[Trainer, list[Rollout], Update]:
    """An update on four answers that are all masked differently."""
    trainer = Trainer(small_stage(batch_size=4, **changes), family.teacher, family.student, family.prompts, "cpu")
    answers = trainer.write_answers(4)
    reading = trainer.read_by_teacher(answers)
    return trainer, answers, trainer.update(answers, reading, [2, 0, 3, 1], 0, np.random.default_rng(0))


def test_the_loss_by_masked_fraction_is_that_of_each_answer_alone(family: Family) -> None:
    trainer, answers, update = updated(family)  # the first update has learning rate 0: the weights are as they were
    rng, losses, fractions = np.random.default_rng(0), [], []
    for index in (2, 0, 3, 1):
        row = training_row(answers[index], 4, trainer.mask_token, realised_state, "exclude", rng)
        hidden, [start] = trainer.read_by_teacher(answers).of([index])
        [pack] = trainer.packs([Answer(row, answers[index].ids, start)], batch=1)
        losses.append(trainer.loss(pack, hidden, torch.zeros_like(pack.weights)).item())
        fractions.append(masked_fraction(row, answers[index], trainer.mask_token))
    assert update.loss_by_masked == pytest.approx(by_tenth(losses, fractions), abs=1e-5)
    assert update.loss == pytest.approx(np.mean(losses), abs=1e-5)
    assert update.samples == 4


@pytest.mark.parametrize("budget", [1, 60, 200])
def test_the_metrics_do_not_depend_on_how_the_batch_is_packed(family: Family, budget: int) -> None:
    _, _, whole = updated(family)
    _, _, parts = updated(family, micro_batch_tokens=budget)
    assert parts.loss_by_masked == pytest.approx(whole.loss_by_masked, abs=1e-5)
    assert parts.forwarded_tokens == whole.forwarded_tokens


NOTHING = torch.empty(0)
NO_PACK = Pack(NOTHING, NOTHING, causal([]), 0, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING)


class Apart(Ranks):
    """A process that only notes what it would add to the others'."""

    def sum(self, values: Tensor) -> Tensor:
        self.share = values
        return values


def test_what_two_processes_add_up_to_is_what_one_has() -> None:
    losses, places = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), torch.tensor([0, 0, 1, 2, 2, 3])
    weights = 1 / torch.tensor([2.0, 2.0, 1.0, 2.0, 2.0, 1.0]) / 4

    def share(mine: list[int]) -> Tensor:
        ranks, tally = Apart(), Tally(mine, 4, torch.device("cpu"))
        chosen = torch.isin(places, torch.tensor(mine))
        own = torch.searchsorted(torch.tensor(mine), places[chosen])
        pack = replace(NO_PACK, weights=weights[chosen], answers=own)
        tally.add(pack, (losses * weights)[chosen].sum(), losses[chosen])
        tally.over(ranks)
        return ranks.share

    both = share([0, 3]) + share([1, 2])
    torch.testing.assert_close(both, share([0, 1, 2, 3]))
    assert both.tolist() == pytest.approx([3.75, 1.5, 3.0, 4.5, 6.0])


# Counters


def test_counters_add_up(family: Family, finished: Path) -> None:
    records = lines(finished / "out" / "metrics.jsonl")
    updates, rollouts = of_kind(records, "update"), of_kind(records, "rollout")
    assert all(record["samples"] == 2 for record in updates)
    written = np.cumsum([4 * record["mean_length"] for record in rollouts])
    for record in updates:
        assert record["rollout_tokens"] == pytest.approx(written[record["rollout"] - 1])
    assert updates[-1]["loss_tokens"] == updates[-1]["rollout_tokens"]
    trainer = Trainer(small_stage(), family.teacher, family.student, family.prompts, "cpu")
    student, teacher = (sum(w.numel() for w in model.parameters()) for model in (trainer.student, trainer.teacher))
    assert all(record["paper_flops"] == (6 * student + 2 * teacher) * record["loss_tokens"] for record in updates)


def test_tensorboard_shows_what_the_files_hold(finished: Path) -> None:
    board = EventAccumulator(str(finished / "state" / "tensorboard" / "timing")).Reload()
    shown = [(event.step, event.value) for event in board.Scalars("timing/seconds/rollout")]
    written = [(line["rollout"], line["seconds"]["rollout"]) for line in lines(finished / "state" / "timing.jsonl")]
    assert shown == [(step, pytest.approx(seconds)) for step, seconds in written]


# Time


def test_every_second_is_charged_to_the_phase_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 3.0, 4.0, 9.0, 9.5, 10.0])
    monkeypatch.setattr("opdlm.distill.meter.time.perf_counter", lambda: next(times))
    meter, progress = Meter(torch.device("cpu")), Progress(seconds=100.0, flops=1000.0)
    meter.ends("rollout", 7.0)
    meter.ends("reading")
    meter.ends("rollout", 1.0)
    spent = meter.take(progress)
    assert spent.seconds == {"rollout": 8.0, "reading": 1.0, "gradients": 0.0, "step": 0.0, "other": 0.5}
    assert spent.flops["rollout"] == 8.0
    assert (progress.seconds, progress.flops) == (109.5, 1008.0)
    assert meter.take(progress).seconds["other"] == 0.5


def test_a_resumed_run_has_one_line_of_timing_for_each_rollout_and_counts_all_its_time(
    family: Family, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        Strike(signal.SIGTERM, TRAINER, "update", 5).prepare(patch.setattr)
        with pytest.raises(StoppedError):
            trained(family, tmp_path)
    timing = tmp_path / "state" / "timing.jsonl"
    with open(timing, "a") as stream:
        stream.write('{"kind": "timing", "rollout": 4, "seconds"')  # a line that a killed run was writing
    stopped = lines_until_broken(timing)
    trained(family, tmp_path)
    records = lines(timing)
    assert [record["rollout"] for record in records] == list(range(1, 9))
    assert records[: len(stopped)] == stopped
    hours, spent = [record["gpu_hours"] for record in records], [record["spent_flops"] for record in records]
    assert hours == sorted(hours)
    assert spent == sorted(spent)
    assert hours[-1] * 3600 > sum(sum(record["seconds"].values()) for record in records), "the one that was stopped"


def lines_until_broken(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()[:-1]]


def test_the_operations_of_a_rollout_are_those_of_its_parts(family: Family) -> None:
    trainer, answers, update = updated(family)
    spent = trainer.meter.take(Progress())
    assert set(spent.seconds) == set(PHASES)
    assert all(spent.seconds[phase] > 0 for phase in ("rollout", "reading", "gradients", "step"))
    student, teacher = trainer.student.shape, trainer.teacher.shape
    assert spent.flops["rollout"] == flops.forward(student, flops.writing(answers, 4))
    read = sum(len(answer.prompt) + len(answer.ids) - 1 for answer in answers)
    assert flops.forward(teacher, flops.Work(read)) < spent.flops["reading"]
    assert spent.flops["gradients"] > flops.update(student, flops.Work(update.forwarded_tokens), 0)


# Right answers


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


def test_the_progress_line_tells_what_a_person_watches(
    family: Family, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = trained(family, tmp_path, lambda rows, texts: [True] * len(rows), rollouts=2)
    loss, length = of_kind(records, "update")[-1]["loss"], of_kind(records, "rollout")[-1]["mean_length"]
    said = capsys.readouterr().err.splitlines()[-1]
    assert "2/2" in said
    assert f"loss={loss:.4f}, length={length:.0f}, per_step=1.00, right=100%, seconds=rollout " in said


# Trackers


class Notebook(GeneralTracker):
    """A tracker of one's own."""

    name = "notebook"
    requires_logging_directory = False

    def __init__(self) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {}
        self.notes: list[tuple[int | None, dict[str, Any]]] = []
        self.closed = False

    @property
    def tracker(self) -> "Notebook":
        return self

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.settings = values

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        self.notes.append((step, values))

    def finish(self) -> None:
        self.closed = True


def test_a_tracker_is_told_all_that_the_files_hold(family: Family, tmp_path: Path) -> None:
    notebook, state = Notebook(), tmp_path / "state"
    stage = small_stage(rollouts=2)
    train(
        stage, family.teacher, family.student, family.prompts, state, tmp_path / "out",
        judge=knows_mathematics, trackers=[notebook],
    )  # fmt: skip
    assert notebook.closed
    assert notebook.settings == stage.model_dump(mode="json")
    updates = of_kind(lines(state / "metrics.jsonl"), "update")
    told = [(step, note["update/loss"]) for step, note in notebook.notes if "update/loss" in note]
    assert told == [(record["update"], record["loss"]) for record in updates]
    steps = [step for step, _ in notebook.notes]
    assert steps == [0, 1, 1, 1, 2, 3, 3, 3], "both kinds share one axis, which never goes back"
    names = {name for _, note in notebook.notes for name in note}
    assert {"rollout/mean_length", "timing/seconds/rollout", "timing/gpu_hours"} <= names


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wandb", r"tracker 'wandb' needs its package: pip install wandb"),
        ("notebook", r"tracker 'notebook' is unknown; known are .*wandb"),
    ],
)
def test_a_tracker_that_cannot_be_used_is_an_error_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.setattr(tracking, "_available_trackers", [])
    nowhere = tmp_path / "nowhere"
    with pytest.raises(SettingsError, match=message):
        train(small_stage(), nowhere, nowhere, nowhere, tmp_path / "state", tmp_path / "out", trackers=[name])
    assert not (tmp_path / "state").exists()


def test_weights_and_biases_goes_on_with_the_run_of_the_same_folder(
    family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[dict[str, Any]] = []
    logged: list[dict[str, Any]] = []

    def init(**given: Any) -> SimpleNamespace:
        begun.append(given)
        return SimpleNamespace(log=lambda values, step: logged.append(values), finish=lambda: None)

    config = SimpleNamespace(update=lambda values, allow_val_change: None)
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, config=config))
    monkeypatch.setattr(tracking, "_available_trackers", [LoggerType.WANDB])
    state = tmp_path / "run-0123"
    train(
        small_stage(rollouts=1), family.teacher, family.student, family.prompts, state, tmp_path / "out",
        trackers=["wandb"],
    )  # fmt: skip
    name = "run-0123"
    assert begun == [{"project": "opdlm", "name": name, "id": name, "resume": "allow", "dir": str(state)}]
    assert "update/loss" in logged[0]

"""What training reports: losses by masked fraction, counters, where the time goes, and the line of progress."""

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from opdlm.decode.request import Rollout
from opdlm.distill import flops
from opdlm.distill.checkpoint import Progress
from opdlm.distill.judging import Judge
from opdlm.distill.loop import train
from opdlm.distill.meter import PHASES, Meter
from opdlm.distill.preemption import StoppedError
from opdlm.distill.ranks import Ranks
from opdlm.distill.rows import Answer, Pack, TrainingRow, training_row
from opdlm.distill.states import realised_state
from opdlm.distill.tally import Tally, Update, by_tenth, masked_fraction
from opdlm.distill.trainer import Trainer
from opdlm.model.attention import causal
from tests.family import Family, small_stage
from tests.strikes import TRAINER, Strike


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


def test_the_progress_line_tells_what_a_person_watches(
    family: Family, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = trained(family, tmp_path, lambda rows, texts: [True] * len(rows), rollouts=2)
    loss, length = of_kind(records, "update")[-1]["loss"], of_kind(records, "rollout")[-1]["mean_length"]
    said = capsys.readouterr().err.splitlines()[-1]
    assert "2/2" in said
    assert f"loss={loss:.4f}, length={length:.0f}, per_step=1.00, right=100%, seconds=rollout " in said

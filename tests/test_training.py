"""Training: damaged checkpoints, independence of packing, objectives, metrics, and bad input."""

import json
import logging
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from opdlm.config.training import TrainStage
from opdlm.decode.request import Rollout
from opdlm.distill import checkpoint
from opdlm.distill.checkpoint import Progress
from opdlm.distill.trainer import Trainer
from opdlm.errors import CheckpointError, DataError, TrainingError
from opdlm.files import write_jsonl
from opdlm.model.checkpoint import load_config, load_model, read_weights
from tests.conftest import assert_close
from tests.family import Family, assert_same_result, run, small_stage


def records(out: Path, kind: str) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[random.randrange(len(content))] ^= 1
    file.write_bytes(content)


def empty(file: Path) -> None:
    shutil.rmtree(file.parent)
    file.parent.mkdir()


DAMAGES = [
    (truncate, "training.pt"),
    (truncate, "sha256.json"),
    (flip_a_byte, "student/model.safetensors"),
    (flip_a_byte, "progress.json"),
    (Path.unlink, "student/config.json"),
    (empty, "sha256.json"),
]


def saved(state: Path) -> list[Path]:
    return sorted(state.glob("rollout-*"))


@pytest.mark.parametrize(("harm", "name"), DAMAGES)
def test_a_damaged_checkpoint_is_skipped_for_the_one_before(
    family: Family,
    tmp_path: Path,
    finished: Path,
    caplog: pytest.LogCaptureFixture,
    harm: Callable[[Path], None],
    name: str,
) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    earlier, newest = saved(tmp_path / "state")
    harm(newest / name)
    with caplog.at_level(logging.WARNING):
        assert_same_result(finished / "out", run(family, small_stage(), tmp_path))
    assert f"checkpoint {newest} is damaged" in caplog.text
    assert saved(tmp_path / "state") == [earlier, newest]
    assert checkpoint.damage(newest) is None


def test_without_an_intact_checkpoint_nothing_is_trained(family: Family, tmp_path: Path, finished: Path) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    for folder in saved(tmp_path / "state"):
        truncate(folder / "training.pt")
    state = tmp_path / "state"
    with pytest.raises(CheckpointError, match=f"none of the 2 checkpoints in {state} is intact: delete {state}"):
        run(family, small_stage(), tmp_path)


def test_metrics_that_lost_lines_are_an_error(family: Family, tmp_path: Path, finished: Path) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    truncate(tmp_path / "state" / "metrics.jsonl")
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl has lost lines: delete .*state to begin anew"):
        run(family, small_stage(), tmp_path)


def test_a_checkpoint_holds_the_student_as_a_model_folder(family: Family, finished: Path) -> None:
    student = saved(finished / "state")[-1] / "student"
    assert load_model(student).shape.block_size == 4
    files = {file.name for file in family.student.iterdir()}
    assert {file.name for file in student.iterdir()} == {*files, "README.md"}
    assert (student / "README.md").read_bytes() == (finished / "out" / "README.md").read_bytes()
    one, other = read_weights(student), read_weights(finished / "out")
    assert all(torch.equal(one[name], other[name]) for name in one)


ANSWERS = [Rollout([1], [2, 3], [1, 2], [], [], "length")]


def write_nothing(_: Path) -> None: ...


def test_the_last_checkpoints_stay_and_damaged_ones_do_not_count(tmp_path: Path) -> None:
    for updates in (2, 4, 6):
        checkpoint.save(tmp_path, Progress(rollouts=updates // 2, updates=updates), {}, write_nothing)
    kept = [folder.name for folder in saved(tmp_path)]
    assert kept == ["rollout-000002-update-000004", "rollout-000003-update-000006"]
    truncate(tmp_path / kept[1] / "training.pt")
    checkpoint.save(tmp_path, Progress(rollouts=2, updates=5, answers=ANSWERS), {}, write_nothing)
    assert [folder.name for folder in saved(tmp_path)] == [kept[0], "rollout-000003-update-000005"]


def gradients(family: Family, stage: TrainStage) -> tuple[float, list[Tensor]]:
    """Loss and gradients of one update on four answers; the weights are left as they are."""
    trainer = Trainer(stage, family.teacher, family.student, family.prompts, "cpu")
    answers = trainer.write_answers(1)
    reading = trainer.read_by_teacher(answers)
    taken: list[Tensor] = []

    def take(_: float) -> float:
        taken.extend(parameter.grad for parameter in trainer.student.parameters() if parameter.grad is not None)
        return 0.0

    trainer.learner.step = take  # type: ignore[method-assign]
    update = trainer.update(answers, reading, [0, 1, 2, 3], 5, np.random.default_rng(0))
    return update.loss, taken


def test_an_update_does_not_depend_on_how_the_batch_is_packed(family: Family) -> None:
    whole_loss, whole = gradients(family, small_stage(batch_size=4))
    for budget in (1, 60, 200):
        loss, parts = gradients(family, small_stage(batch_size=4, micro_batch_tokens=budget))
        assert loss == pytest.approx(whole_loss, abs=1e-6)
        for one, other in zip(parts, whole, strict=True):
            torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("objective", ["on_policy", "random_mask", "off_policy_kd", "sft"])
def test_every_objective_lowers_its_loss(family: Family, tmp_path: Path, objective: str) -> None:
    stage = small_stage(
        objective=objective,
        rollouts=25,
        optimiser={"lr": 1e-2, "warmup_rollouts": 1},
        max_tokens={"start": 8, "end": 8, "steps": 1},
    )
    losses = [record["loss"] for record in records(run(family, stage, tmp_path), "update")]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


@pytest.mark.parametrize("objective", ["off_policy_kd", "sft"])
def test_off_policy_answers_are_written_by_the_teacher(family: Family, objective: str) -> None:
    trainer = Trainer(small_stage(objective=objective), family.teacher, family.student, family.prompts, "cpu")
    for answer in trainer.write_answers(3):
        assert answer.steps == list(range(1, len(answer.ids) + 1))
        assert (len(answer.prompt) + len(answer.ids) + len(answer.tail_ids)) % 4 == 0


def test_the_teacher_reads_the_answers_once_and_causally(family: Family) -> None:
    trainer = Trainer(small_stage(), family.teacher, family.student, family.prompts, "cpu")
    answers = trainer.write_answers(4)
    reading = trainer.read_by_teacher(answers)
    from transformers import AutoModelForCausalLM

    reference = AutoModelForCausalLM.from_pretrained(family.teacher)
    hidden, starts = reading.of(list(range(len(answers))))
    for answer, start in zip(answers, starts, strict=True):
        with torch.no_grad():
            logits = reference(torch.tensor([answer.prompt + answer.ids])).logits[0]
        expected = logits[len(answer.prompt) - 1 : -1]
        actual = trainer.teacher.logits(hidden[start : start + len(answer.ids)])
        assert_close(actual, expected)


def test_answers_respect_the_length_ramp_and_the_domain_caps(family: Family) -> None:
    stage = small_stage(domain_caps={"math": 5})
    trainer = Trainer(stage, family.teacher, family.student, family.prompts, "cpu")
    short = {tuple(prompt.ids) for prompt in trainer.prompts if prompt.cap == 5}
    for rollout, limit in [(1, 8), (4, 12)]:
        assert trainer.max_tokens(rollout) in (limit, limit - 4)
        for answer in trainer.write_answers(rollout):
            cap = 5 if tuple(answer.prompt) in short else trainer.max_tokens(rollout)
            assert len(answer.ids) <= cap


def test_metrics_tell_what_happened(family: Family, tmp_path: Path) -> None:
    out = run(family, small_stage(), tmp_path)
    updates, rollouts = records(out, "update"), records(out, "rollout")
    assert [record["update"] for record in updates] == list(range(16))
    assert [record["rollout"] for record in rollouts] == list(range(1, 9))
    assert updates[0]["lr"] == 0.0
    assert updates[2]["lr"] == pytest.approx(1e-3)
    tokens = [record["loss_tokens"] for record in updates]
    assert tokens == sorted(tokens)
    assert tokens[-1] == pytest.approx(sum(4 * record["mean_length"] for record in rollouts))


def test_the_result_is_a_model_folder(family: Family, tmp_path: Path) -> None:
    out = run(family, small_stage(), tmp_path)
    assert load_config(out) == load_config(family.student)
    assert load_model(out).shape.block_size == 4
    assert {file.name for file in out.iterdir()} >= {file.name for file in family.student.iterdir()}


def test_a_loss_that_is_not_finite_stops_training_and_keeps_what_was_finished(family: Family, tmp_path: Path) -> None:
    stage = small_stage(save_every=1)
    calls = 0
    original = Trainer.loss

    def broken(self: Trainer, *args: object) -> Tensor:
        nonlocal calls
        calls += 1
        return original(self, *args) * (float("nan") if calls == 6 else 1.0)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "loss", broken)
        with pytest.raises(TrainingError, match=r"update 5: loss nan.*train\.optimiser\.lr"):
            run(family, stage, tmp_path)
    assert not (tmp_path / "out").exists()
    found = checkpoint.load_latest(tmp_path / "state")
    assert found is not None
    assert found[0].rollouts == 2


def test_training_goes_on_after_an_error_as_if_it_had_not_happened(family: Family, tmp_path: Path) -> None:
    undisturbed = run(family, small_stage(), tmp_path / "undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "loss", lambda *_: torch.tensor(float("inf"), requires_grad=True))
        with pytest.raises(TrainingError):
            run(family, small_stage(), tmp_path / "other")
    assert_same_result(undisturbed, run(family, small_stage(), tmp_path / "other"))


def test_prompts_beyond_the_limit_are_left_out_and_counted(
    family: Family, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = small_stage()
    trainer = Trainer(
        stage.model_copy(update={"max_prompt_tokens": 26}), family.teacher, family.student, family.prompts, "cpu"
    )
    assert 0 < len(trainer.prompts) < 20
    assert f"{20 - len(trainer.prompts)} prompts exceed max_prompt_tokens=26" in capsys.readouterr().err
    with pytest.raises(DataError, match=r"none is left; the first is row 1 with \d+ tokens"):
        Trainer(
            stage.model_copy(update={"max_prompt_tokens": 3}), family.teacher, family.student, family.prompts, "cpu"
        )


def test_malformed_prompts_name_file_and_line(family: Family, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"question": "q"}\n{"quest')
    with pytest.raises(DataError, match=r"bad\.jsonl, line 2: not valid JSON"):
        Trainer(small_stage(), family.teacher, family.student, bad, "cpu")
    write_jsonl(bad, [])
    with pytest.raises(DataError, match="has no rows"):
        Trainer(small_stage(), family.teacher, family.student, bad, "cpu")


def test_a_model_without_blocks_cannot_be_the_student(family: Family) -> None:
    with pytest.raises(CheckpointError, match="not a block-diffusion model"):
        Trainer(small_stage(), family.teacher, family.teacher, family.prompts, "cpu")

"""Training on two CUDA devices, through NCCL, and with adapters; run with `pytest -m gpu` where there are two."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from opdlm.config.hardware import Hardware
from opdlm.config.training import TrainStage
from opdlm.distill.ranks import Ranks
from opdlm.distill.trainer import Trainer
from opdlm.identity import canonical_json
from opdlm.model.checkpoint import read_weights
from tests.family import Family, small_stage
from tests.test_ranks import ROOT, TORCHRUN

pytestmark = pytest.mark.gpu
two_devices = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices")
one_device = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def trained(family: Family, folder: Path, stage: TrainStage, processes: int, zero: int = 0) -> Path:
    """The model folder that the workflow's command ends with."""
    launcher = [*TORCHRUN, f"--nproc-per-node={processes}"] if processes > 1 else [sys.executable]
    places = {"teacher": family.teacher, "student": family.student, "prompts": family.prompts}
    places |= {"state": folder / "state", "out": folder / "out"}
    numbers = [f"--processes={processes}", f"--zero={zero}", "--device=cuda"]
    named = [f"--{name}={value}" for name, value in places.items()]
    script = str(ROOT / "workflow_scripts" / "train.py")
    command = [*launcher, script, *numbers, f"--settings={canonical_json(stage)}", *named]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / "out"


def losses(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "update"]


def stage(precision: str) -> TrainStage:
    """The teacher's answers do not depend on the student, so that no rounding sends two runs apart."""
    return small_stage(objective="off_policy_kd", rollouts=3, precision=precision)


@pytest.fixture(scope="module", params=["fp32", "bf16"])
def alone(request: pytest.FixtureRequest, family: Family, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A precision, and what one device ends with in it."""
    return request.param, trained(family, tmp_path_factory.mktemp("alone"), stage(request.param), 1)


@two_devices
@pytest.mark.parametrize("zero", [0, 1, 2, 3])
def test_two_devices_learn_what_one_learns(family: Family, tmp_path: Path, alone: tuple[str, Path], zero: int) -> None:
    precision, one = alone
    together = trained(family, tmp_path, stage(precision), 2, zero)
    assert losses(together) == pytest.approx(losses(one), rel=1e-4 if precision == "fp32" else 2e-2)
    weights, expected = read_weights(together), read_weights(one)
    for name, tensor in expected.items():
        torch.testing.assert_close(weights[name].float(), tensor.float(), atol=5e-3, rtol=1e-2)


@one_device
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_gradients_that_wait_on_the_host_teach_the_same(family: Family, precision: str) -> None:
    def updated(hardware: Hardware) -> list[torch.Tensor]:
        trainer = Trainer(stage(precision), family.teacher, family.student, family.prompts, "cuda", Ranks(), hardware)
        answers = trainer.write_answers(1)
        reading = trainer.read_by_teacher(answers)
        for update in range(3):
            trainer.update(answers, reading, [*range(len(answers))], update, np.random.default_rng(update))
        return [weight.detach().float() for weight in trainer.student.parameters()]

    for weight, expected in zip(updated(Hardware(host_gradients=True)), updated(Hardware()), strict=True):
        torch.testing.assert_close(weight, expected, atol=5e-3, rtol=1e-2)


@one_device
def test_adapters_learn_on_the_device(family: Family, tmp_path: Path) -> None:
    adapters = small_stage(objective="sft", rollouts=8, lora={"rank": 4, "alpha": 8.0}, optimiser={"lr": 1e-2})
    reached = losses(trained(family, tmp_path, adapters, 1))
    assert sum(reached[-4:]) < sum(reached[:4])

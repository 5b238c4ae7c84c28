"""ZeRO on two processes does what one process does alone, in every stage, also after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from opdlm.config.hardware import Hardware, Memory, fitting
from opdlm.config.settings import load
from opdlm.config.training import TrainStage
from opdlm.distill.checkpoint import Shared, load_latest
from opdlm.distill.ranks import Ranks
from opdlm.errors import CheckpointError, SettingsError
from opdlm.identity import canonical_json
from opdlm.model.checkpoint import load_model, read_weights
from tests.family import Family, assert_same_result, run, small_stage
from tests.test_config import TINY
from tests.test_ranks import ROOT, TORCHRUN
from tests.tree import Tree

QUIET: dict[str, Any] = {"cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
SHORT = {"max_tokens": {"start": 4, "end": 4, "steps": 1}}
LONG = SHORT | {"rollouts": 75, "inner_epochs": 2, "objective": "off_policy_kd", "save_every": 75}
"""300 updates."""


@dataclass(frozen=True)
class Outcome:
    """What a process ended with: loss and gradient norm of each update, answers, weights."""

    updates: list[list[float]]
    ids: list[list[int]]
    weights: dict[str, Tensor]


def outcomes(family: Family, out: Path, precision: str, processes: int, *hardware: int) -> list[Outcome]:
    """What each of the processes ended with: five answers an update, each a pack of its own, so three on one rank."""
    stage = small_stage(batch_size=5, prompts_per_rollout=7, micro_batch_tokens=1, precision=precision)
    launcher = [*TORCHRUN, "--nproc-per-node", str(processes)] if processes > 1 else [sys.executable]
    arguments = [canonical_json(stage), family.teacher, family.student, family.prompts, out, processes, *hardware]
    command = [*launcher, str(ROOT / "tests" / "two_ranks.py"), *map(str, arguments)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, timeout=200)
    records = [json.loads(Path(f"{out}-{rank}.json").read_text()) for rank in range(processes)]
    return [
        Outcome(record["losses"], record["ids"], torch.load(f"{out}-{rank}.pt")) for rank, record in enumerate(records)
    ]


@pytest.fixture(scope="module")
def alone(family: Family, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """What one process without ZeRO ends with, by precision."""
    folder = tmp_path_factory.mktemp("alone")
    return {name: outcomes(family, folder / name, name, 1)[0] for name in ("fp32", "bf16")}


@pytest.mark.parametrize(
    ("precision", "zero", "recomputed"),
    [("fp32", 1, 0), ("fp32", 2, 0), ("fp32", 3, 1), ("bf16", 1, 0), ("bf16", 2, 0), ("bf16", 3, 0)],
)
def test_two_ranks_with_zero_give_the_updates_of_one_without(
    family: Family, tmp_path: Path, alone: dict[str, Outcome], precision: str, zero: int, recomputed: int
) -> None:
    expected = alone[precision]
    for outcome in outcomes(family, tmp_path / "out", precision, 2, zero, recomputed):
        assert outcome.ids == expected.ids
        for name, tensor in expected.weights.items():
            torch.testing.assert_close(outcome.weights[name], tensor, atol=1e-6, rtol=1e-6)
        for (loss, norm), (expected_loss, expected_norm) in zip(outcome.updates, expected.updates, strict=True):
            assert loss == pytest.approx(expected_loss, rel=1e-5)
            assert norm == pytest.approx(expected_norm, rel=1e-5)


def command(family: Family, folder: Path, stage: TrainStage, zero: int, *options: str) -> list[str]:
    """The command that trains on two processes."""
    places = {"teacher": family.teacher, "student": family.student, "prompts": family.prompts}
    places |= {"state": folder / "state", "out": folder / "out"}
    script = [str(ROOT / "workflow_scripts" / "train.py"), "--processes=2", f"--zero={zero}", "--device=cpu", *options]
    named = [f"--{name}={value}" for name, value in places.items()]
    return [*TORCHRUN, "--nproc-per-node=2", *script, f"--settings={canonical_json(stage)}", *named]


def losses(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "update"]


@pytest.fixture(scope="module")
def long_losses(family: Family, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """Of 300 updates in one process without ZeRO."""
    return losses(run(family, small_stage(**LONG), tmp_path_factory.mktemp("long")))


@pytest.mark.slow
@pytest.mark.parametrize("zero", [2, 3])
def test_300_updates_end_where_one_process_ends(
    family: Family, tmp_path: Path, long_losses: list[float], zero: int
) -> None:
    subprocess.run(command(family, tmp_path, small_stage(**LONG), zero), check=True, timeout=200, **QUIET)
    reached = losses(tmp_path / "out")
    assert len(reached) == len(long_losses) == 300
    assert reached[-1] == pytest.approx(long_losses[-1], rel=1e-4)
    assert sum(reached[-20:]) == pytest.approx(sum(long_losses[-20:]), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("zero", [2, 3])
def test_ranks_that_are_killed_go_on_bit_for_bit(family: Family, tmp_path: Path, zero: int) -> None:
    stage = small_stage(precision="bf16", save_every=1, rollouts=5)
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    subprocess.run(command(family, undisturbed, stage, zero), check=True, timeout=120, **QUIET)
    with subprocess.Popen(command(family, killed, stage, zero), start_new_session=True, **QUIET) as launcher:
        while launcher.poll() is None and len(list((killed / "state").glob("rollout-*"))) < 2:
            time.sleep(0.01)
        assert launcher.poll() is None, "it ended before it could be killed"
        os.killpg(launcher.pid, signal.SIGKILL)
    assert not (killed / "out").exists()
    subprocess.run(command(family, killed, stage, zero), check=True, timeout=120, **QUIET)
    assert_same_result(killed / "out", undisturbed / "out")
    check_a_checkpoint(undisturbed, zero)


def check_a_checkpoint(finished: Path, zero: int) -> None:
    """It holds the student whole and one part of the optimiser's state for each process, and others cannot read it."""
    newest = max((finished / "state").glob("rollout-*"))
    assert load_model(newest / "student").shape.block_size == 4
    one, other = read_weights(newest / "student"), read_weights(finished / "out")
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert {file.name for file in newest.glob("*.pt")} == {"training-0.pt", "training-1.pt"}
    for shared, text in [
        (
            Shared(Ranks(), zero),
            f"this one has 1 process with ZeRO stage {zero}: go on as it began, or delete {newest.parent}",
        ),
        (Shared(), "this one has no ZeRO: go on as it began"),
    ]:
        with pytest.raises(CheckpointError, match=f"{newest} .* of 2 processes with ZeRO stage {zero}") as said:
            load_latest(finished / "state", shared)
        assert text in str(said.value)


# Workflow


def test_a_job_uses_what_is_said_for_as_many_devices() -> None:
    choices = {2: Memory(zero=3), 8: Memory(zero=2, recomputed_layers=24)}
    assert fitting(choices, 0) == fitting(choices, 1) == Hardware()
    assert fitting(choices, 4) == Hardware(processes=4, zero=3)
    assert fitting(choices, 8) == Hardware(processes=8, zero=2, recomputed_layers=24)
    assert fitting({}, 8) == Hardware(processes=8)


@pytest.mark.parametrize(
    ("hardware", "message"),
    [
        ({"opdml": {1: {}}}, "hardware.opdml: 'opdml' is not defined"),
        ({"opdlm": {0: {}}}, "hardware.opdlm.0"),
        ({"opdlm": {8: {"zero": 4}}}, "hardware.opdlm.8.zero: "),
        ({"opdlm": {8: {"offload": True}}}, "hardware.opdlm.8: 'offload' needs 'zero'"),
        ({"opdlm": {8: {"zero": 2, "host_gradients": True}}}, "hardware.opdlm.8: 'host_gradients' goes without 'zero'"),
    ],
)
def test_wrong_hardware_is_named(hardware: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as said:
        load({**TINY, "hardware": hardware})
    assert str(said.value).startswith(message)


def test_a_job_starts_a_process_on_each_gpu_and_their_number_retrains_nothing(tmp_path: Path) -> None:
    tree, target = Tree(tmp_path), "results/models/run/opdlm"
    on_gpus = ["--resources", "gpu=8", "--set-resources", "train:gpu=8", "--cores", "8", "--set-threads", "train=8"]
    on_paper = ["--configfile", "config/paper.yaml", "--", f"{target}-8B"]
    said = tree.snakemake("--dry-run", "--printshellcmds", *on_gpus, *on_paper)
    output = said.stdout + said.stderr
    assert (
        "opdlm.devices 8 torchrun --standalone --nproc-per-node 8 --shutdown-timeout 600 --signals-to-handle" in output
    )
    assert "--processes 8 --threads 1 --zero 2 --recomputed-layers 24 --out" in output
    said = tree.snakemake("--dry-run", "--printshellcmds", *on_paper)
    assert "exec python -m opdlm.devices 0 python workflow_scripts/train.py" in said.stdout + said.stderr
    assert tree.snakemake("--cores", "2", target).returncode == 0
    assert tree.stale(target) == tree.stale(*on_gpus, "--", target) == set()

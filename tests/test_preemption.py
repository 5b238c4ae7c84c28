"""Training that is killed, or stopped by a signal, and started again ends as an undisturbed one."""

import multiprocessing
import os
import random
import runpy
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from opdlm.distill import checkpoint
from opdlm.distill.checkpoint import Progress
from opdlm.distill.preemption import EXIT_STATUS, SIGNALS, StoppedError
from opdlm.distill.ranks import Ranks
from opdlm.errors import DataError
from opdlm.identity import canonical_json
from tests.family import Family, assert_same_result, run, small_stage
from tests.strikes import TRAINER, Strike
from tests.test_training import saved, write_nothing
from tests.tree import STAND_IN, Tree

SCRIPT = Path(__file__).parents[1] / "workflow_scripts" / "train.py"


class Job:
    """A training by the real script, in processes of its own. They are forked from one that has imported everything."""

    def __init__(self, family: Family, folder: Path) -> None:
        self.state, self.out, self.log = folder / "state", folder / "out", folder / "log"
        self.command = [str(SCRIPT), "--settings", canonical_json(small_stage()), "--device", "cpu"]
        self.command += ["--teacher", str(family.teacher), "--student", str(family.student)]
        self.command += ["--prompts", str(family.prompts), "--state", str(self.state), "--out", str(self.out)]
        self.processes = multiprocessing.get_context("forkserver")
        self.processes.set_forkserver_preload([__name__, "opdlm.distill.loop"])

    def start(self, *strikes: Strike) -> BaseProcess:
        process = self.processes.Process(target=run_script, args=(self.command, self.log, strikes))
        process.start()
        return process

    def status(self, *strikes: Strike) -> int | None:
        """Exit status of a run; of one that a signal killed, the signal's negative number."""
        process = self.start(*strikes)
        process.join()
        return process.exitcode

    def progress(self) -> Progress:
        """What the newest checkpoint holds."""
        found = checkpoint.load_latest(self.state)
        assert found is not None
        return found[0]

    def updates_seen(self) -> int:
        """Updates in the metrics so far."""
        path = self.state / "metrics.jsonl"
        return path.read_text().count('"kind": "update"') if path.exists() else -1


def run_script(command: list[str], log: Path, strikes: tuple[Strike, ...]) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    for strike in strikes:
        strike.prepare()
    sys.argv = command
    runpy.run_path(command[0], run_name="__main__")


@pytest.fixture
def job(family: Family, tmp_path: Path) -> Job:
    return Job(family, tmp_path)


def steps_on_tensorboard(state: Path, kind: str, name: str) -> list[int]:
    board = EventAccumulator(str(state / "tensorboard" / kind)).Reload()
    return [event.step for event in board.Scalars(f"{kind}/{name}")]


# Kills


def test_kills_in_every_phase_change_nothing(job: Job, finished: Path) -> None:
    kills = [
        (TRAINER, "write_answers", random.randint(1, 3)),
        (TRAINER, "loss", random.randint(1, 4)),
        ("torch", "save", 1),  # a checkpoint half written
        ("shutil", "rmtree", 1),  # before its remains are removed
        ("shutil", "rmtree", 2),  # a checkpoint written, the oldest not removed yet
    ]
    for kill in kills:
        assert job.status(Strike(signal.SIGKILL, *kill)) == -signal.SIGKILL, kill
    assert job.status() == 0, job.log.read_text()
    assert_same_result(finished / "out", job.out)
    assert not list(job.state.glob(".*"))
    assert steps_on_tensorboard(job.state, "update", "loss") == list(range(16))
    assert steps_on_tensorboard(job.state, "rollout", "mean_length") == list(range(1, 9))


def test_kills_at_random_moments_change_nothing(job: Job, finished: Path) -> None:
    for moment in sorted(random.sample(range(14), 3)):
        process = job.start()
        while process.is_alive() and job.updates_seen() < moment:
            time.sleep(0.001)
        time.sleep(0.02 * random.random())
        process.kill()
        process.join()
    assert job.status() == 0, job.log.read_text()
    assert_same_result(finished / "out", job.out)


# Signals


@pytest.mark.parametrize(
    ("number", "owner", "name", "call", "updates", "within_rollout"),
    [
        (signal.SIGTERM, TRAINER, "read_by_teacher", 1, 0, True),
        (signal.SIGTERM, TRAINER, "write_answers", 3, 4, True),
        (signal.SIGUSR1, TRAINER, "loss", 5, 5, True),
        (signal.SIGTERM, TRAINER, "loss", 6, 6, False),
        (signal.SIGTERM, "torch", "save", 2, 8, False),
    ],
)
def test_a_signal_stops_and_saves_and_the_same_command_goes_on(
    job: Job,
    finished: Path,
    number: signal.Signals,
    owner: str,
    name: str,
    call: int,
    updates: int,
    within_rollout: bool,
) -> None:
    assert job.status(Strike(number, owner, name, call)) == EXIT_STATUS == 75
    assert job.log.read_text().splitlines()[-1] == (
        f"stopped by {number.name} after {updates // 2} of 8 rollouts and {updates} updates, all saved; "
        "rerun the same command to go on"
    )
    progress = job.progress()
    assert progress.updates == job.updates_seen() == updates
    assert bool(progress.answers) == within_rollout
    assert not job.out.exists()
    assert job.status() == 0, job.log.read_text()
    assert_same_result(finished / "out", job.out)
    assert steps_on_tensorboard(job.state, "update", "loss") == list(range(16))


def test_signals_at_random_moments_lose_nothing(job: Job, finished: Path) -> None:
    done = 0
    for number in random.choices(SIGNALS, k=4):
        moment = random.randint(1, 120)  # each layer of each forward pass calls it: 310 times in an undisturbed run
        assert job.status(Strike(number, "torch.nn.functional", "silu", moment)) in (EXIT_STATUS, 0), moment
        assert job.progress().updates == job.updates_seen() >= done
        done = job.updates_seen()
    assert job.status() == 0, job.log.read_text()
    assert_same_result(finished / "out", job.out)


@pytest.fixture(scope="module")
def two_epochs(family: Family, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Result of an undisturbed run with two passes over each rollout."""
    return run(family, small_stage(rollouts=2, inner_epochs=2), tmp_path_factory.mktemp("epochs"))


@pytest.mark.parametrize("update", range(1, 8))
def test_a_stop_anywhere_in_a_rollout_of_two_epochs(
    family: Family, tmp_path: Path, two_epochs: Path, update: int
) -> None:
    stage = small_stage(rollouts=2, inner_epochs=2)
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.MonkeyPatch.context() as patch:
        Strike(signal.SIGTERM, TRAINER, "update", update).prepare(patch.setattr)
        with pytest.raises(StoppedError, match=f"after {update // 4} of 2 rollouts and {update} updates"):
            run(family, stage, tmp_path)
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert_same_result(two_epochs, run(family, stage, tmp_path))


def test_a_stop_after_the_last_update_still_writes_the_model(family: Family, tmp_path: Path, two_epochs: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        Strike(signal.SIGTERM, TRAINER, "update", 8).prepare(patch.setattr)
        assert_same_result(two_epochs, run(family, small_stage(rollouts=2, inner_epochs=2), tmp_path))


def test_a_stop_before_anything_was_done(family: Family, tmp_path: Path, finished: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        Strike(signal.SIGTERM, TRAINER, "__init__", 1).prepare(patch.setattr)
        with pytest.raises(StoppedError, match="after 0 of 8 rollouts and 0 updates"):
            run(family, small_stage(), tmp_path)
    assert_same_result(finished / "out", run(family, small_stage(), tmp_path))


def test_training_in_a_thread_needs_no_signals(family: Family, tmp_path: Path, finished: Path) -> None:
    thread = threading.Thread(target=run, args=(family, small_stage(), tmp_path))
    thread.start()
    thread.join()
    assert_same_result(finished / "out", tmp_path / "out")


# Checkpoints


def test_a_full_disk_while_saving_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, Progress(rollouts=1), {}, write_nothing)
    before = saved(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(DataError, match=r"cannot write .*rollout-000002.*No space left.*unchanged"):
        checkpoint.save(tmp_path, Progress(rollouts=2), {}, write_nothing)
    assert list(tmp_path.iterdir()) == before
    assert checkpoint.damage(before[0]) is None


# Lock and workflow


def test_a_second_process_waits_and_takes_up_what_the_first_has_done(job: Job, finished: Path) -> None:
    assert job.status(Strike(signal.SIGTERM, TRAINER, "loss", 1)) == EXIT_STATUS
    with checkpoint.locked(job.state, Ranks()):
        second = job.start()
        while f"waiting: another process is training in {job.state}" not in job.log.read_text():
            time.sleep(0.02)
        assert not job.out.exists()
    second.join()
    assert second.exitcode == 0, job.log.read_text()
    assert_same_result(finished / "out", job.out)


SAVING = """#!/bin/bash
if [[ "$*" == *workflow_scripts/train.py* ]]; then
    trap "touch saved; exit 75" TERM
    touch training
    while true; do sleep 0.1; done  # the trap waits for the end of the sleep
fi
"""


def test_snakemake_waits_for_a_training_that_saves(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    (tree.programs / "python").write_text(SAVING + STAND_IN)
    environment = {**os.environ, "PYTHONPATH": str(tree.folder), "PATH": f"{tree.programs}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/local", "results/models/run/opdlm"]
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(command, cwd=tree.folder, env=environment, stderr=log, start_new_session=True)
        while process.poll() is None and not (tree.folder / "training").exists():
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGTERM)  # as a cluster does
        assert process.wait() == 1
    assert (tree.folder / "saved").exists()
    assert "returned non-zero exit status 75" in (tmp_path / "log").read_text()

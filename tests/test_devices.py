"""Jobs that share a machine's GPUs. The GPUs here are names; a job is a program that says which it was given."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.tree import Tree

SAY = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); input()"
"""A job that says what it has and goes on until its input ends."""
SMI = """#!/bin/bash
echo "GPU 0: NVIDIA H200 (UUID: GPU-1)"
echo "  MIG 1g.18gb Device 0: (UUID: MIG-1)"
echo "GPU 1: NVIDIA H200 (UUID: GPU-2)"
"""


class Machine:
    """Environment of jobs on a machine with some GPUs."""

    def __init__(self, folder: Path, gpus: str | None) -> None:
        self.environment = {**os.environ, "TMPDIR": str(folder), "CUDA_VISIBLE_DEVICES": gpus or ""}
        if gpus is None:
            del self.environment["CUDA_VISIBLE_DEVICES"]

    def start(self, count: int) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "opdlm.devices", str(count), sys.executable, "-c", SAY]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=self.environment, text=True, stdin=pipe, stdout=pipe, stderr=pipe)

    def given(self, count: int) -> str:
        """What a job that ends at once was given."""
        return self.start(count).communicate("")[0].strip()


def has(job: "subprocess.Popen[str]") -> list[str]:
    """What a running job says that it has."""
    assert job.stdout is not None
    return job.stdout.readline().strip().split(",")


def test_jobs_side_by_side_have_different_gpus(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "0,1,2,5")
    jobs = [machine.start(count) for count in (1, 2, 1)]
    assert sorted(gpu for job in jobs for gpu in has(job)) == ["0", "1", "2", "5"]
    for job in jobs:
        job.communicate("")


@pytest.mark.parametrize("number", [None, signal.SIGTERM, signal.SIGKILL])
def test_a_job_that_has_to_wait_gets_what_another_gives_back(tmp_path: Path, number: signal.Signals | None) -> None:
    machine = Machine(tmp_path, "0,1,2")
    first = machine.start(2)
    assert has(first) == ["0", "1"]
    second = machine.start(2)
    assert second.stderr is not None
    assert second.stderr.readline() == "waiting for 2 of the GPUs 0, 1, 2: other jobs have them\n"
    third = machine.start(1)
    assert has(third) == ["2"], "who waits holds nothing"
    if number is None:
        first.communicate("")
    else:
        first.send_signal(number)
        assert first.wait() == -number, "the job is the process itself"
    assert has(second) == ["0", "1"]
    second.communicate("")
    third.communicate("")


def test_gpus_that_a_scheduler_has_chosen_are_not_chosen_again(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "0")
    jobs = [machine.start(1), machine.start(1)]
    assert [has(job) for job in jobs] == [["0"], ["0"]], "two jobs of SLURM: each sees its own as number 0"
    for job in jobs:
        job.communicate("")


def test_a_job_without_gpus_sees_none(tmp_path: Path) -> None:
    assert Machine(tmp_path, "0,1").given(0) == ""


def test_a_machine_without_gpus_runs_everything(tmp_path: Path) -> None:
    assert Machine(tmp_path, "").given(8) == ""


def test_a_machine_with_too_few_says_so(tmp_path: Path) -> None:
    refused = Machine(tmp_path, "0,1").start(4)
    assert refused.communicate("")[1] == "error: 4 GPUs were asked for, and there are 2: 0, 1\n"
    assert refused.returncode == 1


def test_a_machine_is_asked_for_its_gpus(tmp_path: Path) -> None:
    (tmp_path / "nvidia-smi").write_text(SMI)
    (tmp_path / "nvidia-smi").chmod(0o755)
    machine = Machine(tmp_path, None)
    machine.environment["PATH"] = f"{tmp_path}:{machine.environment['PATH']}"
    jobs = [machine.start(1), machine.start(1)]
    assert sorted(gpu for job in jobs for gpu in has(job)) == ["0", "1"]
    for job in jobs:
        job.communicate("")


@pytest.mark.parametrize(("gpus", "training", "shard"), [(None, "0", "0"), (4, "4", "1"), (16, "8", "1")])
def test_the_local_profile_gives_no_more_than_there_are(
    tmp_path: Path, gpus: int | None, training: str, shard: str
) -> None:
    there = [] if gpus is None else ["--resources", f"gpu={gpus}"]
    done = Tree(tmp_path).snakemake("results/table1.csv", "--dry-run", *there)
    pattern = r"^rule (train|generate):$.*?^    resources: .*?gpu=(\d+)"
    assert dict(re.findall(pattern, done.stdout + done.stderr, re.MULTILINE | re.DOTALL)) == {
        "train": training,
        "generate": shard,
    }


def test_a_job_that_waits_ends_with_who_started_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "0,1,2")
    first = machine.start(2)
    assert has(first) == ["0", "1"]
    starting = "import subprocess, sys; job = subprocess.Popen(sys.argv[1:]); print(job.pid, flush=True); job.wait()"
    waiting = [sys.executable, "-m", "opdlm.devices", "2", sys.executable, "-c", SAY]
    with subprocess.Popen(
        [sys.executable, "-c", starting, *waiting],
        env=machine.environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as starter:
        assert starter.stdout is not None
        assert starter.stderr is not None
        job = psutil.Process(int(starter.stdout.readline()))
        assert starter.stderr.readline().startswith("waiting for 2 of the GPUs")
        starter.kill()
        psutil.wait_procs([job], timeout=20)
    assert not job.is_running() or job.status() == psutil.STATUS_ZOMBIE
    first.communicate("")

"""The workflow on a real SLURM through `profiles/slurm`, with a site's values laid over it and nothing else changed.

It runs once, with a failing shard, a requeued training and one that meets its time limit, and comes to what an
undisturbed run without SLURM does.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from opdlm.files import sha256
from tests.slurm import NAME, NoSlurmError, cluster, gpus, jobs, output, wait_for
from tests.tree import ROOT, Tree

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SITE = "profiles/slurm/site.yaml"
TABLE, REQUEUED, LIMITED = "results/table1.csv", "results/models/run/requeued", "results/models/run/limited"
PLAIN = """#!/bin/bash
exec PYTHON "$@"
"""
STRIKING = """#!/bin/bash
# The first shard that is tried fails, once.
if [[ $* == *generate.py* ]] && mkdir "${0%/*}/failed" 2> /dev/null; then
    echo "a shard fails"
    exit 1
fi
exec PYTHON "$@"
"""


class Workflow:
    """A copy of the workflow with the configuration of these tests.

    Args:
        folder: of the copy.
        python: a program in place of `python`, in which PYTHON stands for the real one.
    """

    def __init__(self, folder: Path, python: str) -> None:
        tree = Tree(folder)
        self.folder, self.log = tree.folder, folder / "log"
        (tree.programs / "python").write_text(python.replace("PYTHON", sys.executable))
        shutil.copy(ROOT / "tests/slurm_workflow.yaml", self.folder)
        path = f"{tree.programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = {**os.environ, "PYTHONPATH": str(self.folder), "PATH": path}

    @contextmanager
    def building(self, targets: list[str], *options: str) -> Iterator[None]:
        """Snakemake runs beside what is done in the context, which then waits for its end."""
        command = [sys.executable, "-m", "snakemake", *targets, "--configfile", "slurm_workflow.yaml", *options]
        with open(self.log, "w") as log:
            self.snakemake = subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=log, stderr=log)
        try:
            yield
            assert self.snakemake.wait() == 0, self.log.read_text()
        finally:
            self.snakemake.send_signal(signal.SIGINT)  # ends its jobs; nothing, if it has ended
            self.snakemake.wait(60)

    def weights(self, run: str) -> str:
        return sha256(self.folder / "results/models/run" / run / "model.safetensors")

    def metrics(self, run: str) -> str:
        """What a training has reported so far."""
        return "".join(path.read_text() for path in (self.folder / "results/state").glob(f"{run}-*/metrics.jsonl"))

    def went_on_from(self, run: str) -> int:
        """Rollouts that were done when the last attempt at a training began, by its progress bar."""
        [done, *_] = re.findall(r"(\d+)/20 \[", (self.folder / f"results/logs/train/{run}.log").read_text())
        return int(done)

    @contextmanager
    def held(self, run: str) -> Iterator[None]:
        """A training that stands still in the middle until what is done to it meanwhile has sent it a SIGTERM."""
        wait_for(lambda: self._in_the_middle(run), f"{run} in the middle", 400)
        ranks = [process for process in psutil.process_iter() if self._is_rank(process, run)]
        for rank in ranks:
            rank.suspend()
        try:
            yield
            wait_for(lambda: all(map(told_to_stop, ranks)), f"SIGTERM to {run}", 60)
        finally:
            for rank in ranks:
                with suppress(psutil.NoSuchProcess):
                    rank.resume()

    def _in_the_middle(self, run: str) -> bool:
        assert self.snakemake.poll() is None, self.log.read_text()
        return self.metrics(run).count('"kind": "update"') >= 3

    def _is_rank(self, process: psutil.Process, run: str) -> bool:
        try:
            ours = process.cwd() == str(self.folder) and any(f"state/{run}-" in part for part in process.cmdline())
            return ours and "RANK" in process.environ()
        except psutil.Error:
            return False


def told_to_stop(process: psutil.Process) -> bool:
    """Whether a SIGTERM waits for a process that stands still, or has ended it: SLURM may let it go on, too."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except FileNotFoundError:
        return True
    [pending] = [line.split()[1] for line in status.splitlines() if line.startswith("ShdPnd:")]
    return bool(int(pending, 16) >> (signal.SIGTERM - 1) & 1)


def planned(folder: Path, *arguments: str) -> dict[str, dict[str, str]]:
    """By rule, the resources of the last job that would run on the cluster."""
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--profile", "profiles/slurm", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.findall(r"^rule (\w+):$.*?^    resources: (.*?)$", done.stdout + done.stderr, re.MULTILINE | re.DOTALL)
    return {rule: dict(pair.split("=", 1) for pair in given.split(", ")) for rule, given in found}


def jobs_of(name: str) -> list[dict[str, str]]:
    """SLURM's record of the jobs of a rule with given wildcards, by the executor's comment on each."""
    return [job for job in jobs() if job["Comment"].startswith(name)]


def training_of(run: str) -> list[dict[str, str]]:
    return jobs_of(f"rule_train_wildcards_{run}")


# What is asked for


def test_memory_and_time_grow_with_the_model(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for size, training, shard, minutes, conversion in [
        ("0.6B", "260000", "26000", "276", "12200"),
        ("4B", "600000", "60000", "480", "36000"),
        ("8B", "1000000", "100000", "720", "64000"),
    ]:
        target = f"results/merged/run/opdlm-{size}/static/MATH-500.json"
        asked = planned(tree.folder, target, "--configfile", "config/paper.yaml", "config/benchmarks.yaml")
        assert asked["train"].items() >= {"gpu": "8", "mem_mb": training, "runtime": "2880"}.items()
        assert asked["generate"].items() >= {"gpu": "1", "mem_mb": shard, "runtime": minutes}.items()
        assert asked["convert"]["mem_mb"] == conversion
        assert "gpu" not in asked["score"]


def test_a_site_says_only_what_it_has_otherwise(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tiny = ("results/table1.csv", "--configfile", "config/config.yaml")
    before = planned(tree.folder, *tiny)
    site: dict[str, dict[str, Any]] = {
        "names": {"account": "p123", "gpu_partition": "h100", "gpu_model": None},
        "default-resources": {"runtime": 5},
        "set-resources": {"train": {"gpu": 4}, "convert": {"slurm_partition": "short"}},
    }
    (tree.folder / SITE).write_text(yaml.safe_dump(site))
    changed: dict[str, dict[str, str]] = {}
    for rule, asked in planned(tree.folder, *tiny).items():
        assert asked.pop("slurm_account") == "p123"
        changed[rule] = dict(asked.items() - before[rule].items())
        changed[rule] |= dict.fromkeys(before[rule].keys() - asked.keys(), "")
    expected = {
        "pretrain_teacher": {"runtime": "5"},
        "convert": {"runtime": "5", "slurm_partition": "short"},
        "train": {"slurm_partition": "h100", "gpu_model": "", "gpu": "4"},
        "generate": {"slurm_partition": "h100", "gpu_model": ""},
        "score": {"runtime": "5"},
    }
    assert changed.items() >= expected.items(), "and what runs where Snakemake does"


# What comes of it


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workflow]:
    """The workflow on SLURM, disturbed. SLURM runs as long as its record is asked for."""
    try:
        with cluster(tmp_path_factory.mktemp(NAME)):
            workflow = Workflow(tmp_path_factory.mktemp("clustered"), STRIKING)
            shutil.copy(ROOT / "tests/slurm_site.yaml", workflow.folder / SITE)
            snakemake = workflow.building([TABLE, REQUEUED, LIMITED], "--profile", "profiles/slurm")
            with snakemake, ThreadPoolExecutor() as pool:
                for disturbance in [pool.submit(requeue, workflow), pool.submit(shorten, workflow)]:
                    disturbance.result()
            yield workflow
    except NoSlurmError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def alone(clustered: Workflow, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """The workflow on this machine, undisturbed, with as many processes.

    The two runs that are disturbed on SLURM are one run by two names: it is trained once here.
    """
    workflow = Workflow(tmp_path_factory.mktemp("alone"), PLAIN)
    options = ["--profile", "profiles/local", "--resources", "gpu=8"]
    options += ["--set-resources", "generate:gpu=1", "train:gpu=8 if wildcards.run == 'opdlm' else 2"]
    with workflow.building([TABLE, LIMITED], *options):
        return workflow


def requeue(workflow: Workflow) -> None:
    """Send a training back to the queue, and do not let it wait there for the two minutes that SLURM has it wait."""
    with workflow.held("requeued"):
        [job] = training_of("requeued")
        output("scontrol", "requeue", job["JobId"])
    wait_for(lambda: training_of("requeued")[0]["JobState"] == "PENDING", "a requeued job", 60)
    output("scontrol", "update", f"JobId={job['JobId']}", "StartTime=now")


def shorten(workflow: Workflow) -> None:
    """Set the time limit of a training so that the profile's notice before it is due; SLURM looks twice a minute."""
    with workflow.held("limited"):
        [job] = training_of("limited")
        output("scontrol", "update", f"JobId={job['JobId']}", "TimeLimit=10")


def test_the_table_is_the_one_of_an_undisturbed_run_without_slurm(alone: Workflow, clustered: Workflow) -> None:
    first, second = (workflow.folder / "results/table1.csv" for workflow in (alone, clustered))
    assert first.read_bytes() == second.read_bytes()
    assert alone.weights("opdlm") == clustered.weights("opdlm")


def test_a_training_has_eight_gpus_a_shard_one_and_scoring_none(clustered: Workflow) -> None:
    [training] = training_of("opdlm")
    assert (training["Partition"], gpus(training), training["TimeLimit"]) == ("accelerated", 8, "2-00:00:00")
    assert {(job["Partition"], gpus(job)) for job in jobs_of("rule_generate")} == {("accelerated", 1)}
    assert {(job["Partition"], gpus(job)) for job in jobs_of("rule_score")} == {("everyone", 0)}


def test_a_shard_that_fails_is_tried_again(clustered: Workflow) -> None:
    tried = [(job["Comment"], job["JobState"]) for job in jobs_of("rule_generate")]
    [failed] = [name for name, state in tried if state == "FAILED"]
    assert (failed, "COMPLETED") in tried
    assert len(tried) == 3


def test_a_requeued_training_ends_in_the_same_weights(alone: Workflow, clustered: Workflow) -> None:
    [job] = training_of("requeued")
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1")
    assert 3 <= clustered.went_on_from("requeued") < 20
    assert clustered.weights("requeued") == alone.weights("limited")
    assert clustered.metrics("requeued") == alone.metrics("limited")


def test_a_training_that_meets_its_time_limit_ends_in_the_same_weights(alone: Workflow, clustered: Workflow) -> None:
    first, second = training_of("limited")
    assert (first["JobState"], first["TimeLimit"]) == ("FAILED", "00:10:00")
    assert second["JobState"] == "COMPLETED"
    assert 3 <= clustered.went_on_from("limited") < 20
    assert clustered.weights("limited") == alone.weights("limited")
    assert clustered.metrics("limited") == alone.metrics("limited")

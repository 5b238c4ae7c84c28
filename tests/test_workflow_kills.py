"""A workflow that is killed twenty times comes to what an undisturbed one does, and no answer is written twice."""

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from opdlm.evaluate.journal import KeptAnswer
from opdlm.files import read_journal, sha256
from tests.tree import ROOT, Tree

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

KILLS = 20


class Workflow:
    """A copy of the workflow with a small configuration: two trainings, a table of both, shards and seeds."""

    def __init__(self, folder: Path) -> None:
        tree = Tree(folder)
        self.folder = tree.folder
        self.python = tree.programs / "python"
        self.python.write_text(f'#!/bin/bash\nexec {sys.executable} "$@"\n')
        self.configuration = yaml.safe_load((ROOT / "tests/slurm_workflow.yaml").read_text())
        del self.configuration["runs"]["limited"]
        benchmark = self.configuration["benchmarks"]["TinyChoice"]
        benchmark.update(rows=12, seeds=2, temperature=1.0)
        rows = [{"label": run, "model": f"run/{run}", "decoding": "static"} for run in self.configuration["runs"]]
        self.configuration["tables"]["table1"]["rows"] = rows
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        self.environment = {**environment, "PATH": f"{tree.programs}:{environment['PATH']}"}

    def start(self) -> "subprocess.Popen[bytes]":
        (self.folder / "small.yaml").write_text(yaml.safe_dump(self.configuration))
        command = [sys.executable, "-m", "snakemake", "--profile", "profiles/local", "--configfile", "small.yaml"]
        with open(self.folder / "log", "ab") as log:
            return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=log, stderr=log)

    def finish(self) -> None:
        assert self.start().wait() == 0, (self.folder / "log").read_text()

    def results(self) -> dict[str, str]:
        """What all results come to, but for what they cost and say of the time."""
        patterns = ("table1.csv", "samples/**/*.jsonl", "models/run/*/*.safetensors", "models/run/*/metrics.jsonl")
        root = self.folder / "results"
        return {str(file.relative_to(root)): sha256(file) for pattern in patterns for file in root.glob(pattern)}

    def answers(self) -> Counter[tuple[str, int]]:
        """How often each answer was written, by the folder that it is kept in."""
        kept = (self.folder / "results/state/answers").rglob("*.jsonl")
        return Counter(
            (str(file.parent), line.sample.index) for file in kept for line in read_journal(file, KeptAnswer)[0]
        )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    workflow = Workflow(tmp_path_factory.mktemp("undisturbed"))
    workflow.finish()
    return workflow


def test_twenty_kills_lose_nothing(undisturbed: Workflow, tmp_path: Path) -> None:
    workflow = Workflow(tmp_path)
    for _ in range(KILLS):
        running = workflow.start()
        try:
            running.wait(random.uniform(0.5, 9))
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
        else:
            assert running.returncode == 0, (workflow.folder / "log").read_text()
    workflow.finish()
    assert workflow.results() == undisturbed.results()
    written = workflow.answers()
    assert set(written.values()) == {1}
    assert len(written) == 2 * 2 * 12  # models, seeds, rows


def test_another_number_of_shards_writes_no_answer_again(undisturbed: Workflow) -> None:
    before = undisturbed.answers()
    undisturbed.configuration["benchmarks"]["TinyChoice"]["shards"] = 1
    undisturbed.finish()
    assert undisturbed.answers() == before


def test_two_workflows_do_not_work_in_one_folder(undisturbed: Workflow) -> None:
    undisturbed.configuration["tables"]["table1"]["title"] = "Another title"
    undisturbed.python.write_text("#!/bin/bash\nsleep 15\n")
    running = undisturbed.start()
    while str(running.pid) not in holders(undisturbed.folder / ".snakemake/at_work"):
        assert running.poll() is None, (undisturbed.folder / "log").read_text()
    assert undisturbed.start().wait() == 1
    assert "another Snakemake is at work in this folder" in (undisturbed.folder / "log").read_text()
    running.kill()
    running.wait()


def holders(lock: Path) -> list[str]:
    """Processes that hold the lock on a file, by the kernel's list."""
    try:
        inode = str(lock.stat().st_ino)
    except FileNotFoundError:
        return []
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return [fields[4] for fields in lines if fields[5].split(":")[2] == inode]

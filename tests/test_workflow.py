"""What the real workflow reruns, asked with `--dry-run` after a whole run whose jobs only made empty files.

The tree is copied, and `python` on the PATH is replaced by a program that makes what `--out` names. Snakemake, its
records, the rules and the configuration are the real ones.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PARTS = ["Snakefile", "rules", "workflow_scripts", "config", "profiles", "envs", "opdlm", "constraints.txt"]
STAND_IN = """#!/bin/bash
while [ $# -gt 0 ]; do
    case "$1" in --out) out=$2 ;; --cost) touch "$2" ;; esac
    shift
done
case "$out" in
    *.csv | *.svg) touch "${out%.*}".{csv,json,md,html,svg,png} ;;
    *.json | *.jsonl | *.html) touch "$out" ;;
    *) mkdir -p "$out" ;;
esac
"""


class Tree:
    """A copy of the workflow in which everything has been built."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tree"
        self.folder.mkdir()
        self.programs = folder / "bin"
        self.programs.mkdir()
        (self.programs / "python").write_text(STAND_IN)
        (self.programs / "python").chmod(0o755)
        for part in PARTS:
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, self.folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / part, self.folder / part)

    def snakemake(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        # The copy's package, not the installed one, and the stand-in for the jobs.
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        environment["PATH"] = f"{self.programs}:{environment['PATH']}"
        command = [sys.executable, "-m", "snakemake", "--profile", "profiles/local", *arguments]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)

    def stale(self, *arguments: str) -> set[str]:
        """Outputs of the jobs that would run, without the folder of results."""
        done = self.snakemake("--dry-run", *arguments)
        assert done.returncode == 0, done.stderr
        lines = re.findall(r"^    output: (.*)$", done.stdout + done.stderr, flags=re.MULTILINE)
        return {output.removeprefix("results/") for line in lines for output in line.split(", ")}

    def stale_with(self, change: Callable[[dict[str, Any]], None]) -> set[str]:
        """What would run with another configuration."""
        raw = yaml.safe_load((self.folder / "config/config.yaml").read_text())
        change(raw)
        (self.folder / "changed.yaml").write_text(yaml.safe_dump(raw))
        return self.stale("--configfile", "changed.yaml")

    @contextmanager
    def edited(self, file: str, edit: Callable[[str], str]) -> Iterator[None]:
        """One file changed for a while."""
        path = self.folder / file
        before = path.read_text()
        after = edit(before)
        assert after != before
        path.write_text(after)
        try:
            yield
        finally:
            path.write_text(before)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    tree = Tree(tmp_path_factory.mktemp("workflow"))
    done = tree.snakemake("--cores", "8", "all")
    assert done.returncode == 0, done.stderr
    return tree


def kinds(outputs: set[str]) -> set[str]:
    """First parts of the paths: the kinds of stages."""
    return {output.split("/")[0] for output in outputs}


def test_second_run_does_nothing(tree: Tree) -> None:
    assert tree.stale() == set()
    assert "Nothing to be done" in tree.snakemake().stderr


@pytest.mark.parametrize(
    "file", ["workflow_scripts/train.py", "workflow_scripts/generate.py", "opdlm/decode/engine.py", "opdlm/blocks.py"]
)
def test_comments_rerun_nothing(tree: Tree, file: str) -> None:
    with tree.edited(file, lambda text: f"{text}\n# An afterthought.\n"):
        assert tree.stale() == set()


def test_an_edit_of_the_code_reruns_what_it_concerns(tree: Tree) -> None:
    with tree.edited("opdlm/distill/loop.py", lambda text: f"{text}\nEXTRA = 1\n"):
        stale = tree.stale()
        assert "models/run/opdlm" in stale
        assert not {"models/teacher/tiny", "models/init/tiny-b4-mean", "data/prompts/tiny.jsonl"} & stale
    with tree.edited("opdlm/reporting/tables.py", lambda text: f"{text}\nEXTRA = 1\n"):
        assert {output.split(".")[0] for output in tree.stale()} == {"table1", "report"}


def test_a_benchmark_reruns_its_own_evaluation_only(tree: Tree) -> None:
    stale = tree.stale_with(lambda raw: raw["benchmarks"]["TinyCode"].update(max_tokens=32))
    assert "models" not in kinds(stale)
    evaluated = [output for output in stale if kinds({output}) <= {"samples", "scores", "merged"}]
    assert evaluated
    assert all("TinyCode" in output for output in evaluated)


def test_table4_is_a_target_of_its_own(tree: Tree) -> None:
    stale = tree.stale("results/table4.csv")
    trained = {output for output in stale if output.startswith("models/run/")}
    assert trained == {f"models/run/few-{name}" for name in ("on-policy", "random-mask", "off-policy-kd", "sft")}
    assert not {"models/teacher/tiny", "models/init/tiny-b4-mean"} & stale


def test_the_figure_of_decoding_speed_is_a_target_of_its_own(tree: Tree) -> None:
    measured = tree.folder / "benchmarks/results/rollout.csv"
    measured.parent.mkdir(parents=True)
    measured.touch()
    figure = {f"figures/rollout.{suffix}" for suffix in ("svg", "png", "csv")}
    assert tree.stale("results/figures/rollout.svg") == tree.stale("results/figures/rollout.png") == figure
    assert tree.stale() == set()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rollouts: 105", "rollout: 105", "runs.opdlm.train.rollout: unknown key; did you mean 'rollouts'?"),
        ("model: run/opdlm", "model: run/opdml", "tables.table1.rows.2.model: 'opdml' is not defined"),
    ],
)
def test_a_wrong_configuration_gives_one_message(tree: Tree, old: str, new: str, message: str) -> None:
    with tree.edited("config/config.yaml", lambda text: text.replace(old, new)):
        done = tree.snakemake()
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line and "profile" not in line]
    assert len(said) == 1
    assert said[0].startswith(f"configuration: {message}")


def test_profiles_have_no_default(tree: Tree) -> None:
    """Snakemake would load it by itself, and let it override the profile that was asked for."""
    assert sorted(path.name for path in (tree.folder / "profiles").iterdir()) == ["local", "slurm"]

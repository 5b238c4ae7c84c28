"""A copy of the workflow. A stand-in does its jobs by making what `--out` names; all else is the real thing."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
    """A copy of the workflow, without the values that its owner's site may have."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tree"
        self.folder.mkdir()
        self.programs = folder / "bin"
        self.programs.mkdir()
        (self.programs / "python").write_text(STAND_IN)
        (self.programs / "python").chmod(0o755)
        for part in PARTS:
            if (ROOT / part).is_dir():
                shutil.copytree(
                    ROOT / part, self.folder / part, ignore=shutil.ignore_patterns("__pycache__", "site.yaml")
                )
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


def kinds(outputs: set[str]) -> set[str]:
    """First parts of the paths: the kinds of stages."""
    return {output.split("/")[0] for output in outputs}

"""Every command of README and docs/cluster.md is run here, at least as far as planning, or listed with a reason."""

import re
import shlex
import subprocess
from collections.abc import Iterator

import pytest

from opdlm.cli import parser
from tests.tree import ROOT, Tree

DOCUMENTS = ("README.md", "docs/cluster.md")
PROGRAMS = ("make", "snakemake", "opdlm", "python", "git", "source", "srun", "torchrun", "apptainer")
NOT_HERE = {
    "make demo": "ten minutes; its workflow runs in small in tests/test_slurm.py and test_workflow_kills.py",
    "make test": "this is it",
    "make setup-gpu": "downloads 6 GB of CUDA; tests/test_envs.py holds its order and versions",
    "git clone REPOSITORY": "CI begins with it",
    "source .venv/bin/activate": "of an interactive shell",
    "srun": "tests/test_slurm.py has a SLURM; the check itself runs in tests/test_envs.py",
    "apptainer build": "there is no Apptainer and no registry of images",
}


def lines_and_inline(text: str) -> Iterator[str]:
    """Lines of fenced blocks that name no language, and inline code elsewhere."""
    fence: str | None = None
    for line in text.splitlines():
        if line.startswith("```"):
            fence = line if fence is None else None
        elif fence == "```":
            yield line
        elif fence is None:
            yield from re.findall(r"`([^`]+)`", line)


def commands() -> Iterator[str]:
    """What begins with a program, without comments."""
    for document in DOCUMENTS:
        for line in lines_and_inline((ROOT / document).read_text()):
            for part in line.partition("  #")[0].split(" && "):
                if part.split(" ")[0] in PROGRAMS and len(part.split()) > 1 and "..." not in part:
                    yield part.strip()


ALL = sorted(set(commands()))


def test_commands_are_found() -> None:
    assert {"make demo", "make plan TABLE=1", "snakemake --profile profiles/slurm results/table1.csv"} <= set(ALL)
    assert all(any(command.startswith(known) for command in ALL) for known in NOT_HERE)


@pytest.mark.parametrize("command", [command for command in ALL if command.startswith("snakemake")])
def test_a_target_can_be_planned(tree: Tree, command: str) -> None:
    measured = tree.folder / "benchmarks/results/rollout.csv"
    measured.parent.mkdir(parents=True, exist_ok=True)
    measured.touch()
    arguments = shlex.split(command)[1:]
    if "config/real.yaml" in arguments and not (ROOT.parent / "shared/bench_data").is_dir():
        pytest.skip("the real benchmark files are not here")
    (tree.folder.parent / "shared").unlink(missing_ok=True)
    (tree.folder.parent / "shared").symlink_to(ROOT.parent / "shared")
    done = tree.snakemake("--dry-run", *arguments)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.parametrize("command", [command for command in ALL if command.startswith("opdlm")])
def test_an_opdlm_command_has_these_options(command: str) -> None:
    """tests/test_cli.py runs them."""
    parser().parse_args(shlex.split(command)[1:])


@pytest.mark.parametrize("command", [command for command in ALL if command.startswith("make")])
def test_a_make_target_exists(command: str) -> None:
    subprocess.run(["make", "--dry-run", *shlex.split(command)[1:]], cwd=ROOT, check=True, capture_output=True)


def test_every_other_command_is_listed_with_a_reason() -> None:
    others = [command for command in ALL if not command.startswith(("snakemake", "opdlm", "make plan"))]
    for command in others:
        assert any(command.startswith(known) for known in NOT_HERE), command


def test_links_lead_somewhere() -> None:
    for document in [ROOT / name for name in DOCUMENTS] + [*(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


NAMED = re.compile(r"`((?:opdlm|tests|config|rules|workflow_scripts|envs|profiles|docs)/[\w./-]+\.\w+)`")


def test_files_named_in_documents_exist() -> None:
    for document in [*(ROOT / name for name in DOCUMENTS), *(ROOT / "docs").glob("*.md")]:
        named = set(NAMED.findall(document.read_text())) - {"profiles/slurm/site.yaml"}
        assert [name for name in named if not (ROOT / name).exists()] == [], document.name

"""What the real workflow reruns, asked with `--dry-run` after a whole run whose jobs only made empty files."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.tree import Tree, kinds


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
    measured.parent.mkdir(parents=True, exist_ok=True)
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


@pytest.mark.skipif(not shutil.which("dot"), reason="graphviz is not installed")
def test_the_workflow_draws_itself(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    # `snakemake` lies beside the interpreter, which need not be on the path.
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    done = tree.snakemake("results/rulegraph.svg", "results/dag.svg")
    assert done.returncode == 0, done.stderr
    rules, jobs = ((tree.folder / f"results/{name}.svg").read_text() for name in ("rulegraph", "dag"))
    assert rules.count(">generate<") == 1
    assert jobs.count(">generate<") == 4 * 4 + 4 * 4  # shards of the table's four lines, and of four more thresholds

"""Twelve edits, and what each of them makes stale: asked of the real workflow with `--dry-run` after a whole run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tree import Tree, kinds

TABLES = {f"table1.{suffix}" for suffix in ("csv", "json", "md", "html")}
PAGES = {*TABLES, "report.html", "figures"}
"""What follows from every new result."""
EVALUATION = {"samples", "scores", "merged", *PAGES}

Edit = Callable[[dict[str, Any]], None]


def test_a_comment_makes_nothing_stale(tree: Tree) -> None:
    with tree.edited("opdlm/distill/trainer.py", lambda text: f"# A remark.\n{text}"):
        assert tree.stale() == set()


def test_a_learning_rate_trains_and_evaluates_the_run(tree: Tree) -> None:
    stale = tree.stale_with(lambda raw: raw["runs"]["opdlm"]["train"].update(optimiser={"lr": 2e-3}))
    assert kinds(stale) == {"models", *EVALUATION}
    assert {output for output in stale if output.startswith("models/")} == {"models/run/opdlm"}


def test_a_threshold_evaluates_its_decoding(tree: Tree) -> None:
    stale = tree.stale_with(lambda raw: raw["decodings"]["dynamic-0.5"].update(threshold=0.6))
    assert kinds(stale) == EVALUATION - TABLES
    assert {output.split("/")[3] for output in stale if output.startswith("samples/")} == {"dynamic-0.5"}


def test_another_version_of_a_scorer_scores_and_generates_nothing(tree: Tree) -> None:
    with tree.edited("opdlm/evaluate/scorers/math.py", lambda text: f"{text}\nVERSION = 2\n"):
        assert kinds(tree.stale()) == EVALUATION - {"samples"}


def test_a_wording_generates_where_it_is_used_and_trains_nothing(tree: Tree) -> None:
    with tree.edited("opdlm/config/prompts.py", lambda text: text.replace("This is the problem", "Here it is")):
        assert tree.stale() == set()
    with tree.edited("opdlm/config/wording.py", lambda text: text.replace('text="{question}"', 'text="Q: {question}"')):
        assert {"models", "samples"} <= kinds(tree.stale())  # the tiny tasks are put plainly, in training too


def test_a_wording_of_one_benchmark_generates_that_one(tree: Tree) -> None:
    stale = tree.stale_with(lambda raw: raw["benchmarks"]["TinyMath"].update(prompt="math"))
    assert kinds(stale) == EVALUATION
    assert {output.split("/")[4] for output in stale if output.startswith("samples/")} == {"TinyMath"}


def test_a_new_benchmark_evaluates_that_one(tree: Tree) -> None:
    def add(raw: dict[str, Any]) -> None:
        raw["benchmarks"]["More"] = {**raw["benchmarks"]["TinyMath"], "rows": 50}
        raw["tables"]["table1"]["benchmarks"] = [*raw["tables"]["table1"]["benchmarks"], "More"]

    stale = tree.stale_with(add)
    assert kinds(stale) == {"data", "samples", "scores", "merged", *TABLES, "report.html"}
    assert all("More" in output for output in stale if kinds({output}) <= {"data", "samples", "scores", "merged"})


def test_a_new_seed_generates_its_answers_and_no_others(tree: Tree) -> None:
    stale = tree.stale_with(lambda raw: raw["benchmarks"]["TinyCode"].update(seeds=2))
    assert kinds(stale) == EVALUATION
    assert {output.split("/")[4:6] == ["TinyCode", "1"] for output in stale if output.startswith("samples/")} == {True}


def test_another_number_of_shards_takes_up_all_answers(tree: Tree) -> None:
    """Its jobs run, and find every answer where the former ones kept it (tests/test_generate.py)."""
    stale = tree.stale_with(lambda raw: raw["benchmarks"]["TinyMath"].update(shards=4))
    assert kinds(stale) == EVALUATION
    assert {Path(output).name.split(".")[0] for output in stale if output.startswith("samples/")} == {
        f"{shard}-of-4" for shard in range(4)
    }


@pytest.mark.parametrize("file", ["profiles/local/config.yaml", "constraints.txt", "envs/cpu.yaml"])
def test_resources_and_upgrades_of_packages_make_nothing_stale(tree: Tree, file: str) -> None:
    edits = {
        "profiles/local/config.yaml": lambda text: f"{text}\nset-threads:\n  train: 2\n",
        "constraints.txt": lambda text: text.replace("torch==", "torch==9.") + "\n",
        "envs/cpu.yaml": lambda text: text.replace("torch ==", "torch ==9."),
    }
    with tree.edited(file, edits[file]):
        assert tree.stale() == set()


def test_the_colour_of_a_plot_draws_it(tree: Tree) -> None:
    with tree.edited("opdlm/reporting/sweep.py", lambda text: f'{text}\nCOLOUR = "teal"\n'):
        assert kinds(tree.stale()) == {"figures", "report.html"}


def test_another_revision_of_the_data_prepares_and_evaluates_it(tree: Tree) -> None:
    def from_hub(revision: str) -> Edit:
        source = {"layout": "rows", "repo": "a/b", "file": "rows.json", "revision": revision}
        return lambda raw: raw["benchmarks"]["TinyMath"].update(source=source)

    for revision in ("v1", "v2"):
        stale = tree.stale_with(from_hub(revision))
        assert kinds(stale) == {"data", *EVALUATION}
        assert f"data/hub/a/b/{revision}/rows.json" in stale
        assert {output.split("/")[4] for output in stale if output.startswith("samples/")} == {"TinyMath"}

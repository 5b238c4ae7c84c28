"""`make plan` in words: jobs by stage, GPU hours expected, and why what is there is made again."""

import os
import subprocess
import sys
from typing import Any

import pytest
import yaml

from opdlm.config.plan import Plan
from opdlm.config.settings import load
from opdlm.reporting.outlook import PlannedJob, changes, gpu_hours, outlook
from tests.tree import ROOT, Tree

PAPER = ("config/paper.yaml", "config/benchmarks.yaml", "config/paper_tables.yaml")


def said(tree: Tree, *arguments: str) -> str:
    command = [sys.executable, "workflow_scripts/plan.py", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(tree.folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=tree.folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.partition("\n")[2]  # the first line is the command


def test_what_is_there_needs_nothing(tree: Tree) -> None:
    assert said(tree, "results/table1.csv") == "results/table1.csv: nothing to be done\n"


def test_a_changed_setting_is_named_with_both_values(tree: Tree) -> None:
    raw = yaml.safe_load((tree.folder / "config/config.yaml").read_text())
    raw["runs"]["opdlm"]["train"]["optimiser"] = {"lr": 2e-3}
    (tree.folder / "changed.yaml").write_text(yaml.safe_dump(raw))
    assert said(tree, "--configfile", "changed.yaml", "--", "results/table1.csv") == (
        "results/table1.csv: 24 jobs\n"
        "       1 trainings: 1 of which nobody has said how long they take\n"
        "       8 shards of answers: 8 of which nobody has said how long they take\n"
        "       8 shards to score\n"
        "       6 results to merge\n"
        "       1 tables, figures and pages\n"
        "Made again although it is there, and why:\n"
        "       1 train: train.optimiser.lr was 0.0007, is 0.002\n"
        "      23 follow from these\n"
    )


def test_an_edit_of_the_code_is_said_to_be_one(tree: Tree) -> None:
    with tree.edited("opdlm/evaluate/merge.py", lambda text: f"{text}\nEXTRA = 1\n"):
        assert "merge: the code that it runs has changed\n" in said(tree, "results/table1.csv")


def test_table_1_of_the_paper_in_words(tree: Tree) -> None:
    lines = said(tree, "--configfile", *PAPER, "--", "results/table1.csv").splitlines()
    assert "       2 trainings: 67.0 GPU hours" in lines
    assert "      96 results to merge" in lines
    [total] = [line for line in lines if line.startswith("GPU hours expected: ")]
    assert 67 < int(total.rsplit(" ", 1)[1]) < 100


@pytest.fixture(scope="module")
def plan() -> Plan:
    raw: dict[str, Any] = {}
    for file in PAPER:
        for section, entries in yaml.safe_load((ROOT / file).read_text()).items():
            raw[section] = {**raw.get(section, {}), **entries} if isinstance(entries, dict) else entries
    return Plan(load(raw), ROOT / "workflow_scripts")


def job(rule: str, **wildcards: str) -> PlannedJob:
    return PlannedJob(rule, wildcards, "out", exists=False, reason="", before=[], now=[])


def test_hours_follow_from_tokens_and_speed(plan: Plan) -> None:
    expected = 14042 * 600 / 9000 / 3600
    shards = [
        job("generate", model="run/opdlm-4B", benchmark="MMLU", part=part, seed="0", decoding="static")
        for _, part in plan.shards("MMLU")
    ]
    assert sum(gpu_hours(shard, plan) or 0 for shard in shards) == pytest.approx(expected)
    assert len(shards) == -(-14042 * 600 // 4_000_000)
    assert gpu_hours(job("train", run="opdlm-4B"), plan) == 22
    assert gpu_hours(job("score"), plan) is None


def test_a_student_decodes_as_fast_as_what_it_started_from(plan: Plan) -> None:
    assert plan.size_of("run/opdlm-0.6B-teacher-4B") == "Qwen3-0.6B"
    assert plan.size_of("init/Qwen3-4B-b8") == "Qwen3-4B"
    assert plan.size_of("teacher/SDAR-4B") == "SDAR-4B"


def test_changes_are_named_by_their_path() -> None:
    before = [repr('{"a":{"b":1,"c":[1,2]},"gone":true}')]
    now = [repr('{"a":{"b":1,"c":[1,3]},"new":"x"}')]
    assert [*changes(before, now)] == [
        "a.c was [1, 2], is [1, 3]",
        "gone was true, is not there",
        'new was not there, is "x"',
    ]
    code = [repr("0123456789ab")], [repr("ba9876543210")]
    assert [*changes(*code)] == ["the code that it runs has changed"]
    assert [*changes([repr('{"a":1}'), *code[0]], [repr('{"a":2}'), *code[1]])] == [
        "a was 1, is 2",
        "the code that it runs has changed",
    ]
    assert [*changes([repr("results/state/run-aaa")], [repr("results/state/run-bbb")])] == []
    assert [*changes([], [])] == []


def test_followers_are_counted_and_not_explained_one_by_one(plan: Plan) -> None:
    followers = [
        PlannedJob("score", {}, "x", exists=True, reason="Input files updated by another job: y", before=[], now=[])
    ] * 3
    changed = PlannedJob("merge", {}, "x", exists=True, reason="Params", before=[repr("0" * 12)], now=[repr("1" * 12)])
    assert outlook(["all"], [*followers, changed], plan).splitlines() == [
        "all: 4 jobs",
        "       3 shards to score",
        "       1 results to merge",
        "Made again although it is there, and why:",
        "       1 merge: the code that it runs has changed",
        "       3 follow from these",
    ]

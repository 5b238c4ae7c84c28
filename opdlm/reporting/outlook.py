"""What a dry run comes to, in words: jobs by stage, GPU hours expected, and why what exists is made again."""

import ast
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from opdlm.config.plan import Plan

STAGES = {
    "fetch_rows": "files of data to fetch",
    "fetch_teacher": "models to fetch",
    "pretrain_teacher": "teachers to pretrain",
    "prepare_prompts": "sets of prompts to prepare",
    "prepare_benchmark": "benchmarks to prepare",
    "convert": "models to convert",
    "train": "trainings",
    "generate": "shards of answers",
    "score": "shards to score",
    "merge": "results to merge",
}
"""Rules in the order of the work; all others make tables, figures and pages."""


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """A job that would run.

    Attributes:
        rule, wildcards, output: Snakemake's; the first of its outputs.
        exists: whether that output is there, so that the job would make it again.
        reason: Snakemake's words for why.
        before, now: params that changed, as texts in Python's notation; none if no params did.
    """

    rule: str
    wildcards: dict[str, str]
    output: str
    exists: bool
    reason: str
    before: list[str]
    now: list[str]


def outlook(targets: list[str], jobs: list[PlannedJob], plan: Plan) -> str:
    """The summary of a dry run, lines of plain text."""
    if not jobs:
        return f"{' '.join(targets)}: nothing to be done"
    count = Counter(job.rule for job in jobs)
    hours: defaultdict[str, float] = defaultdict(float)
    unknown: Counter[str] = Counter()
    for job in jobs:
        expected = gpu_hours(job, plan)
        if expected is not None:
            hours[job.rule] += expected
        elif job.rule in ("train", "generate"):
            unknown[job.rule] += 1
    lines = [f"{' '.join(targets)}: {len(jobs)} jobs"]
    for rule, what in STAGES.items():
        if count[rule]:
            lines.append(f"{count[rule]:8,} {what}{_hours(hours.get(rule, 0.0), unknown[rule])}")
    rest = sum(number for rule, number in count.items() if rule not in STAGES)
    if rest:
        lines.append(f"{rest:8,} tables, figures and pages")
    if hours:
        lines.append(f"GPU hours expected: {sum(hours.values()):,.0f}")
    return "\n".join([*lines, *_remade(jobs)])


def gpu_hours(job: PlannedJob, plan: Plan) -> float | None:
    """What a job is expected to take of GPUs; none if the configuration does not say."""
    expected = plan.settings.expected
    if job.rule == "train":
        return expected.gpu_hours.get(job.wildcards["run"])
    if job.rule != "generate":
        return None
    benchmark = plan.settings.benchmarks[job.wildcards["benchmark"]]
    rows = benchmark.rows or benchmark.source.expected_rows
    speed = expected.tokens_per_second.get(plan.size_of(job.wildcards["model"]))
    if rows is None or benchmark.answer_tokens is None or speed is None:
        return None
    shards = int(job.wildcards["part"].split("-of-")[1])
    return rows / shards * benchmark.answer_tokens / speed / 3600


def _hours(hours: float, unknown: int) -> str:
    parts = [f"{hours:,.1f} GPU hours"] if hours else []
    parts += [f"{unknown:,} of which nobody has said how long they take"] if unknown else []
    return f": {', '.join(parts)}" if parts else ""


def _remade(jobs: list[PlannedJob]) -> Iterator[str]:
    """Why outputs that exist are made again: the first causes, each with the number of jobs that it concerns."""
    causes: Counter[str] = Counter()
    followers = 0
    for job in jobs:
        if not job.exists:
            continue
        changed = [*changes(job.before, job.now)]
        if changed:
            causes.update(f"{job.rule}: {change}" for change in changed)
        elif "updated by another job" in job.reason:
            followers += 1
        else:
            causes[f"{job.rule}: {job.reason[:1].lower()}{job.reason[1:]}"] += 1
    if causes or followers:
        yield "Made again although it is there, and why:"
    for cause, number in causes.items():
        yield f"{number:8,} {cause}"
    if followers:
        yield f"{followers:8,} follow from these"


def changes(before: list[str], now: list[str]) -> Iterator[str]:
    """What differs between the params of two runs of a job, key by key.

    Args:
        before, now: those that are not in both, in Python's notation. A stage's settings are one JSON text.
    """
    old, new = _settings(before), _settings(now)
    for key in dict.fromkeys([*old, *new]):
        # A table's hashes stand for changes that are named where they are made.
        if old.get(key) != new.get(key) and "hashes" not in key.split("."):
            yield f"{key} was {_shown(old, key)}, is {_shown(new, key)}"
    if any(re.fullmatch(CODE, text) for text in (*before, *now)):
        yield "the code that it runs has changed"


CODE = r"'[0-9a-f]{12}'"
"""A hash over code, as a param."""


def _settings(params: Iterable[str]) -> dict[str, Any]:
    """The settings among the params, by path; nothing if they are not among them."""
    for text in params:
        if text.startswith(("'{", '"{')):
            return dict(_flat(json.loads(ast.literal_eval(text)), ""))
    return {}


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{path}.{index}")
    else:
        yield path, value


def _shown(values: dict[str, Any], key: str) -> str:
    return json.dumps(values[key], ensure_ascii=False) if key in values else "not there"

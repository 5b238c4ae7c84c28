# Checks the configuration before any job starts, and makes `plan`, which knows the settings
# and the files of every stage. Two params decide what runs again: `settings` is all that the
# script can read, and `code` stands for the code that it runs. Snakemake does not compare
# params that ask for `resources` or `threads`: where a job runs changes no result.
import re
import sys
from pathlib import Path

from opdlm.config.plan import Plan
from opdlm.config.settings import load
from opdlm.errors import OpdlmError
from opdlm.files import take
from opdlm.identity import canonical_json
from opdlm.reporting.paper import PaperValues

PAPER_VALUES = "config/paper_values.csv"
PAPER_SWEEP = "config/paper_sweep.csv"
TEMPLATES = Path("opdlm/reporting/templates")
PAPER_TOKENS_PER_STEP = "config/paper_tokens_per_step.csv"


def checked_plan():
    try:
        settings = load(config)
        PaperValues(Path(workflow.basedir) / PAPER_VALUES).check(settings)
        return Plan(settings, Path(workflow.basedir) / "workflow_scripts")
    except OpdlmError as error:
        sys.exit(f"configuration: {error}")


def one_of(names):
    """A pattern that matches these names only; nothing if there are none."""
    return "|".join(map(re.escape, names)) or "(?!)"


def named(section, **wanted):
    """Names of the entries of a section that have all the given values."""
    return [
        name
        for name, entry in section.items()
        if all(getattr(entry, key) == value for key, value in wanted.items())
    ]


def alone():
    """Be the only workflow in this folder; the kernel ends that with the process, however it ends.

    Snakemake's own lock outlives a killed one and has to be removed by hand, so the profiles turn it off.
    """
    Path(".snakemake").mkdir(exist_ok=True)
    lock = open(".snakemake/at_work", "w")
    if not take(lock):
        sys.exit("another Snakemake is at work in this folder: wait for it, or end it")
    return lock


held = []


onstart:
    held.append(alone())  # as long as this process lives


plan = checked_plan()
layout = plan.layout


wildcard_constraints:
    prompts=one_of(plan.settings.prompts),
    teacher=one_of(plan.settings.teachers),
    run=one_of(plan.settings.runs),
    init=r"[^/]+-b\d+(?:-mean)?",
    model=r"(?:teacher|init|run)/[^/]+",
    decoding=one_of(plan.settings.decodings),
    benchmark=one_of(plan.settings.benchmarks),
    seed=r"\d+",
    part=r"\d+-of-\d+",
    table=one_of(plan.settings.tables),
    sweep=one_of(named(plan.settings.figures, kind="sweep")),
    curves=one_of(named(plan.settings.figures, kind="training")),
    rollout=one_of(named(plan.settings.figures, kind="rollout")),

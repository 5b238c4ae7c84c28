"""Say in words what would be done: jobs by stage, GPU hours expected, and why anything is done again.

plan.py [--configfile FILE ...] TARGET ...
"""

import argparse
import io
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from snakemake.api import SnakemakeApi
from snakemake.dag import DAG
from snakemake.settings.types import (
    ConfigSettings,
    DAGSettings,
    ExecutionSettings,
    OutputSettings,
    RerunTrigger,
    ResourceSettings,
)

from opdlm.config.plan import Plan
from opdlm.config.settings import load
from opdlm.entry import run
from opdlm.reporting.outlook import PlannedJob, outlook

TRIGGERS = frozenset({RerunTrigger.MTIME, RerunTrigger.PARAMS, RerunTrigger.INPUT, RerunTrigger.SOFTWARE_ENV})
"""Those of the profiles."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configfile", type=Path, nargs="+", default=[Path("config/config.yaml")])
    parser.add_argument("targets", nargs="+", metavar="TARGET")
    given = parser.parse_args()
    said = io.StringIO()  # Snakemake prints every job of a dry run, which is what this is to spare people
    try:
        with redirect_stderr(said), redirect_stdout(said):
            jobs, plan = dry_run(given.configfile, given.targets)
    except BaseException:
        print(said.getvalue(), file=sys.stderr)
        raise
    print(outlook(given.targets, jobs, plan))


def dry_run(configuration: list[Path], targets: list[str]) -> tuple[list[PlannedJob], Plan]:
    """The jobs that would run, and what they are planned from."""
    with SnakemakeApi(OutputSettings(dryrun=True)) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(configfiles=configuration),
            snakefile=Path("Snakefile"),
        )
        dag = workflow.dag(DAGSettings(targets=set(targets), rerun_triggers=TRIGGERS))
        dag.execute_workflow(executor="dryrun", execution_settings=ExecutionSettings(lock=False))
        planned = workflow._workflow  # no public way leads to the jobs
        return [*planned_jobs(planned.dag)], Plan(load(planned.config), Path("workflow_scripts"))


def planned_jobs(dag: DAG) -> Iterator[PlannedJob]:
    """Those of the dry run, which counts them as finished."""
    for job in dag.needrun_jobs(exclude_finished=False):
        changed = dag.reason(job).params_changed
        yield PlannedJob(
            rule=job.rule.name,
            wildcards=dict(job.wildcards_dict),
            output=str(job.output[0]) if job.output else "",
            exists=bool(job.output) and Path(job.output[0]).exists(),
            reason=str(dag.reason(job)).removeprefix("Finished (was: ").removesuffix(")"),
            before=sorted(changed.only_old) if changed else [],
            now=sorted(changed.only_new) if changed else [],
        )


if __name__ == "__main__":
    run(main)

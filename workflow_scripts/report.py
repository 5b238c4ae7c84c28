"""Write the report: tables, figures, verdicts and costs on one page that needs nothing else."""

from opdlm.config.base import from_json
from opdlm.config.stages import ReportStage
from opdlm.entry import run, stage_parser
from opdlm.reporting.page import write_report


def main() -> None:
    given = stage_parser(__doc__, "out").parse_args()
    write_report(from_json(ReportStage, given.settings), given.out)


if __name__ == "__main__":
    run(main)

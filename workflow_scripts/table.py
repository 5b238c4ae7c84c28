"""Write a table: CSV, Markdown and HTML, and a JSON file that says where each number is from."""

from opdlm.config.base import from_json
from opdlm.config.stages import TableStage
from opdlm.entry import run, stage_parser
from opdlm.reporting.tables import write_table


def main() -> None:
    given = stage_parser(__doc__, "paper", "out").parse_args()
    write_table(from_json(TableStage, given.settings), given.paper, given.out)


if __name__ == "__main__":
    run(main)

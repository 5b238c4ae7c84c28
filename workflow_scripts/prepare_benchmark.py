"""Write the rows of a benchmark."""

from pathlib import Path

from opdlm.config.base import from_json
from opdlm.config.data import RowsStage
from opdlm.data.prepare import prepare_benchmark
from opdlm.entry import run, stage_parser


def main() -> None:
    parser = stage_parser(__doc__, "out")
    parser.add_argument("--file", type=Path, nargs="?", help="source of the rows; nothing if they are generated")
    given = parser.parse_args()
    prepare_benchmark(from_json(RowsStage, given.settings), given.file, given.out)


if __name__ == "__main__":
    run(main)

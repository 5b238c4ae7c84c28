"""Judge the answers of one shard of a benchmark."""

from opdlm.config.base import from_json
from opdlm.config.evaluation import ScoreStage
from opdlm.entry import run, stage_parser
from opdlm.evaluate.score import score_shard
from opdlm.files import alone


def main() -> None:
    parser = stage_parser(__doc__, "rows", "samples", "out")
    parser.add_argument("--unsafe", action="store_true", help="where there is no sandbox, run programs without one")
    given = parser.parse_args()
    stage = from_json(ScoreStage, given.settings)
    with alone(given.out):
        score_shard(stage, given.rows, given.samples, given.out, given.unsafe)


if __name__ == "__main__":
    run(main)

"""Judge the answers of one shard of a benchmark."""

from opdlm.config.base import from_json
from opdlm.config.evaluation import ScoreStage
from opdlm.entry import run, stage_parser
from opdlm.evaluate.score import score_shard


def main() -> None:
    given = stage_parser(__doc__, "rows", "samples", "out").parse_args()
    score_shard(from_json(ScoreStage, given.settings), given.rows, given.samples, given.out)


if __name__ == "__main__":
    run(main)

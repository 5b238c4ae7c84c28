"""Draw the decoding speeds that benchmarks/rollout.py measured."""

from opdlm.config.base import from_json
from opdlm.config.stages import RolloutStage
from opdlm.entry import run, stage_parser
from opdlm.reporting.rollout import draw_rollout


def main() -> None:
    given = stage_parser(__doc__, "out").parse_args()
    draw_rollout(from_json(RolloutStage, given.settings), given.out)


if __name__ == "__main__":
    run(main)

"""Draw training curves."""

from opdlm.config.base import from_json
from opdlm.config.stages import CurveStage
from opdlm.entry import run, stage_parser
from opdlm.reporting.curves import draw_curves


def main() -> None:
    given = stage_parser(__doc__, "paper", "out").parse_args()
    draw_curves(from_json(CurveStage, given.settings), given.paper, given.out)


if __name__ == "__main__":
    run(main)

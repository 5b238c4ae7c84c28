"""Draw accuracy over decodings and models: against tokens per denoising step, threshold or block size."""

from opdlm.config.base import from_json
from opdlm.config.stages import SweepStage
from opdlm.entry import run, stage_parser
from opdlm.reporting.sweep import draw_sweep


def main() -> None:
    given = stage_parser(__doc__, "paper", "out").parse_args()
    draw_sweep(from_json(SweepStage, given.settings), given.paper, given.out)


if __name__ == "__main__":
    run(main)

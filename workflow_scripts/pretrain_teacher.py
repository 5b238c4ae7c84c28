"""Train a tiny autoregressive teacher from scratch."""

import torch

from opdlm.config.base import from_json
from opdlm.config.models import PretrainSettings
from opdlm.distill.pretrain import pretrain
from opdlm.entry import run, stage_parser
from opdlm.files import alone


def main() -> None:
    parser = stage_parser(__doc__, "out")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with alone(given.out):
        pretrain(from_json(PretrainSettings, given.settings), given.out)


if __name__ == "__main__":
    run(main)

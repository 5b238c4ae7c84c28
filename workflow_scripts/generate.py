"""Answer the questions of one shard of a benchmark."""

import torch

from opdlm.config.base import from_json
from opdlm.config.evaluation import GenerateStage
from opdlm.entry import run, stage_parser
from opdlm.evaluate.generate import generate_shard


def main() -> None:
    parser = stage_parser(__doc__, "model", "rows", "out")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    generate_shard(from_json(GenerateStage, given.settings), given.model, given.rows, given.out, given.device)


if __name__ == "__main__":
    run(main)

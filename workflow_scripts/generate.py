"""Answer the questions of one shard of a benchmark."""

import torch

from opdlm.config.answers import GenerateStage
from opdlm.config.base import from_json
from opdlm.entry import run, stage_parser
from opdlm.evaluate.generate import generate_shard
from opdlm.files import write_json


def main() -> None:
    parser = stage_parser(__doc__, "model", "rows", "kept", "out", "cost")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    stage = from_json(GenerateStage, given.settings)
    cost = generate_shard(stage, given.model, given.rows, given.out, given.kept, given.device)
    write_json(given.cost, cost.model_dump())


if __name__ == "__main__":
    run(main)

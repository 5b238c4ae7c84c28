"""Distil a teacher into a block-diffusion student; a killed run goes on where its last checkpoint stands."""

import torch

from opdlm.config.base import from_json
from opdlm.config.training import TrainStage
from opdlm.distill.loop import train
from opdlm.entry import run, stage_parser


def main() -> None:
    parser = stage_parser(__doc__, "teacher", "student", "prompts", "state", "out")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    stage = from_json(TrainStage, given.settings)
    train(stage, given.teacher, given.student, given.prompts, given.state, given.out, given.device)


if __name__ == "__main__":
    run(main)

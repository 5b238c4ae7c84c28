"""Distil a teacher into a block-diffusion student; a killed run goes on where its last checkpoint stands.

Several devices: `torchrun --nproc-per-node N workflow_scripts/train.py --processes N ...`.

On SIGTERM or SIGUSR1 it finishes the current update, or the answers that it is writing, saves, and ends with status 75:
the same command goes on.
"""

import sys

import torch

from opdlm.config.base import from_json
from opdlm.config.training import TrainStage
from opdlm.distill.loop import train
from opdlm.distill.preemption import EXIT_STATUS, StoppedError
from opdlm.distill.ranks import Ranks
from opdlm.entry import run, stage_parser


def main() -> None:
    parser = stage_parser(__doc__, "teacher", "student", "prompts", "state", "out")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1, help="how many torchrun has started, one a device")
    parser.add_argument("--recomputed-layers", type=int, default=0, help="of the student, to save memory")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    stage = from_json(TrainStage, given.settings)
    try:
        train(
            stage,
            given.teacher,
            given.student,
            given.prompts,
            given.state,
            given.out,
            given.device,
            Ranks(given.processes, given.device),
            given.recomputed_layers,
        )
    except StoppedError as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(EXIT_STATUS)


if __name__ == "__main__":
    run(main)

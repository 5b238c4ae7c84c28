"""Distil a teacher into a block-diffusion student; a killed run goes on where its last checkpoint stands.

Several devices: `torchrun --standalone --nproc-per-node N workflow_scripts/train.py --processes N ...`.

On SIGTERM or SIGUSR1 it finishes the current update, or the answers that it is writing, saves, and ends with status 75:
the same command goes on. (torchrun itself then ends with status 1.)
"""

import json
import sys

import torch
from torch.distributed import is_torchelastic_launched

from opdlm.config.base import from_json
from opdlm.config.hardware import Hardware
from opdlm.config.training import TrainStage
from opdlm.distill.judging import JudgeProcess
from opdlm.distill.loop import train
from opdlm.distill.preemption import EXIT_STATUS, StoppedError
from opdlm.entry import run, stage_parser
from opdlm.processes import end_with_parent


def main() -> None:
    parser = stage_parser(__doc__, "teacher", "student", "prompts", "state", "out")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--processes", type=int, default=1, help="how many torchrun has started, one a device")
    parser.add_argument(
        "--zero",
        type=int,
        default=0,
        choices=range(4),
        help="what they share out: 1 the optimiser's state, 2 also gradients, 3 also the student's weights",
    )
    parser.add_argument("--offload", action="store_true", help="keep the optimiser's state in the host's memory")
    parser.add_argument("--host-gradients", action="store_true", help="keep gradients in the host's memory")
    parser.add_argument("--recomputed-layers", type=int, default=0, help="of the student, to save memory")
    parser.add_argument("--tracker", action="append", default=[], help="accelerate's name of one, such as wandb")
    given = parser.parse_args()
    if is_torchelastic_launched():
        # torchrun gives each process a session of its own, so they would outlive a torchrun that is killed: they would
        # train on unseen and hold the run's folder against the same command.
        end_with_parent()
    torch.set_num_threads(given.threads)
    chosen = {name: getattr(given, name) for name in Hardware.model_fields}
    hardware = from_json(Hardware, json.dumps(chosen))
    stage = from_json(TrainStage, given.settings)
    try:
        with JudgeProcess("opdlm.evaluate.judge") as judge:
            train(
                stage,
                given.teacher,
                given.student,
                given.prompts,
                given.state,
                given.out,
                given.device,
                hardware,
                judge,
                given.tracker,
            )
    except StoppedError as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(EXIT_STATUS)


if __name__ == "__main__":
    run(main)

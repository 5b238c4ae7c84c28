"""Run under `torchrun` by test_ranks.py and test_zero.py: two rollouts and their updates; writes what came out.

two_ranks.py STAGE TEACHER STUDENT PROMPTS OUT PROCESSES [ZERO [RECOMPUTED_LAYERS]]
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from opdlm.config.base import from_json
from opdlm.config.hardware import Hardware
from opdlm.config.training import TrainStage
from opdlm.distill.ranks import Ranks
from opdlm.distill.trainer import Trainer


def main() -> None:
    stage_text, teacher, student, prompts, out, *numbers = sys.argv[1:]
    torch.set_num_threads(1)
    hardware = Hardware(**dict(zip(("processes", "zero", "recomputed_layers"), map(int, numbers), strict=False)))
    ranks = Ranks(hardware.processes, "cpu")
    stage = from_json(TrainStage, stage_text)
    trainer = Trainer(stage, Path(teacher), Path(student), Path(prompts), "cpu", ranks, hardware)
    losses, update = [], 0
    for rollout in (1, 2):
        answers = trainer.write_answers(rollout)
        reading = trainer.read_by_teacher(answers)
        rng = np.random.default_rng(rollout)
        for batch in np.array_split(rng.permutation(len(answers)), trainer.updates_per_epoch):
            done = trainer.update(answers, reading, batch.tolist(), update, rng)
            losses.append([done.loss, done.grad_norm])
            update += 1
    record = {"losses": losses, "ids": [answer.ids for answer in answers], "read": sorted(reading.states)}
    Path(f"{out}-{ranks.rank}.json").write_text(json.dumps(record))
    torch.save(trainer.learner.whole_student().state_dict(), f"{out}-{ranks.rank}.pt")


if __name__ == "__main__":
    main()

"""One whole step of the distillation on one device, by phase: answers, the teacher's reading, updates.

    python benchmarks/whole_step.py                       # tiny, on the CPU: without times
    python benchmarks/whole_step.py --device cuda --shape 4B

Random weights, teacher, trainer and engine resident together, nothing offloaded. 16 prompts of 128 tokens, answers of
the length that the schedule allows at `--rollout` (random weights never end an answer, and are never certain of a
token: each step reveals one token of a block, the slowest that decoding can be), two updates of 8 answers. The same
step before it compiles what there is to compile.

    rollout     the student writes, cache and graphs included
    reading     the teacher's forward passes
    gradients   the student's forward and backward passes, the teacher's logits
    step        the optimiser
    other       all between them
"""

import argparse

import torch
from floors import SHAPES
from table import commit
from timing import device_name
from trainers import PROMPT, make_trainer

from opdlm.config.hardware import Hardware
from opdlm.distill.checkpoint import Progress
from opdlm.distill.loop import one_rollout
from opdlm.distill.meter import PHASES
from opdlm.distill.metrics import NoMetrics
from opdlm.distill.preemption import StopRequest

PROMPTS, BATCH, ROLLOUTS = 16, 8, 483
"""Of one device of eight in the paper's runs: prompts a rollout; answers an update; rollouts in all."""


def main(arguments: list[str] | None = None) -> None:
    given = parse(arguments)
    device, shape = torch.device(given.device), SHAPES[given.shape]
    settings = {"prompts_per_rollout": PROMPTS, "batch_size": BATCH, "rollouts": ROLLOUTS}
    trainer = make_trainer(shape, settings, Hardware(recomputed_layers=given.recomputed_layers), device)
    stop, metrics, updates = StopRequest(), NoMetrics(), PROMPTS // BATCH
    before = given.rollout - 1
    progress = Progress(rollouts=before, updates=updates * before)
    one_rollout(trainer, progress.model_copy(), metrics, stop)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    trainer.meter.take(progress)
    one_rollout(trainer, progress, metrics, stop)
    spent = trainer.meter.take(progress)
    length = trainer.max_tokens(given.rollout)
    print(f"{device_name(device)}, torch {torch.__version__}, commit {given.commit or commit()}")
    print(f"{given.shape}: {PROMPTS} prompts of {PROMPT} tokens, answers of {length}, {updates} updates of {BATCH}")
    if device.type != "cuda":
        print("no times: not a CUDA device")
        return
    total = sum(spent.seconds.values())
    for phase in PHASES:
        seconds, flops = spent.seconds[phase], spent.flops[phase]
        rate = f"  {flops / seconds / 1e12:5.0f} TFLOP/s" if flops else ""
        print(f"  {phase:10}{seconds:8.3f} s {seconds / total:6.1%}{rate}")
    print(f"  {'all':10}{total:8.3f} s, peak {torch.cuda.max_memory_allocated() / 1e9:.1f} GB")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shape", choices=SHAPES, default="tiny")
    parser.add_argument("--rollout", type=int, default=50, help="whose longest answers are written; default 50")
    parser.add_argument("--recomputed-layers", type=int, default=0)
    parser.add_argument("--commit", help="what is printed about the code; default what git says")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()

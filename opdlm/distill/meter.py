"""Where a rollout's time and arithmetic go."""

import time
from dataclasses import dataclass
from typing import Literal

import torch

from opdlm.distill.checkpoint import Progress

Phase = Literal["rollout", "reading", "gradients", "step", "other"]
"""Answers are written; the teacher reads them; forward and backward passes; the optimiser; and all between them."""
PHASES: tuple[Phase, ...] = ("rollout", "reading", "gradients", "step", "other")


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of this process, and floating-point operations of all processes, by phase."""

    seconds: dict[Phase, float]
    flops: dict[Phase, float]


class Meter:
    """Charges time to the phase that ends.

    Args:
        device: where the work is done; it is waited for at the end of a phase, so that its time is not the next one's.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.border, self.spent = device, time.perf_counter(), _nothing()

    def ends(self, phase: Phase, flops: float = 0.0) -> None:
        """Charge the time since the last border, and the operations of all processes."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.spent.seconds[phase] += now - self.border
        self.spent.flops[phase] += flops
        self.border = now

    def take(self, progress: Progress) -> Spent:
        """What was spent since the last call; it is added to the run's totals, too."""
        self.ends("other")
        taken, self.spent = self.spent, _nothing()
        progress.seconds += sum(taken.seconds.values())
        progress.flops += sum(taken.flops.values())
        return taken


def _nothing() -> Spent:
    return Spent(dict.fromkeys(PHASES, 0.0), dict.fromkeys(PHASES, 0.0))

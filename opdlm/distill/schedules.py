"""Schedules: the learning rate over updates, the answer length and the threshold over rollouts (spec 5.2 to 5.4)."""

import math

from opdlm.config.training import Ramp


def warmup_cosine(update: int, warmup: int, total: int, floor: float) -> float:
    """Share of the peak learning rate at `update` (from 0): linear warm-up, then cosine down to `floor` at `total`."""
    if update < warmup:
        return update / warmup
    progress = (update - warmup) / max(1, total - warmup)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def ramp(settings: Ramp, rollout: int) -> float:
    """Value of a ramp at `rollout` (from 1): `start` while held, then towards `end` along the shape."""
    progress = min(max(rollout - settings.hold, 0) / settings.steps, 1.0)
    if settings.shape == "cos":
        share = 1 - math.cos(math.pi / 2 * progress)
    elif settings.shape == "sin":
        share = math.sin(math.pi / 2 * progress)
    else:
        share = progress
    return settings.start + (settings.end - settings.start) * share


def max_tokens(settings: Ramp, rollout: int, block_size: int) -> int:
    """Longest answer at `rollout` (from 1): the ramp rounded to whole blocks, at least one."""
    return max(block_size, block_size * round(ramp(settings, rollout) / block_size))

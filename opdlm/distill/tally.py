"""What an update did, over all processes: its loss, and the losses of its answers by how much of them was masked."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from opdlm.decode.request import Rollout
from opdlm.distill.ranks import Ranks
from opdlm.distill.rows import Pack, TrainingRow


@dataclass(frozen=True, slots=True)
class Update:
    """What an optimiser update did, over all processes.

    Attributes:
        loss: of the batch, in nats.
        loss_by_masked: mean loss of the answers whose masked fraction lies in a tenth ("0.3-0.4"), where there are any.
        grad_norm: before clipping.
        samples: answers.
        forwarded_tokens: tokens of the packed rows: clean and noised copies.
    """

    loss: float
    loss_by_masked: dict[str, float]
    grad_norm: float
    samples: int
    forwarded_tokens: int


class Tally:
    """Losses of a batch and of its answers, gathered without waiting for the device.

    Args:
        mine: this process's answers, by their places in the batch.
        batch: number of answers.
        device: where losses are computed.
    """

    def __init__(self, mine: list[int], batch: int, device: torch.device) -> None:
        self.mine, self.batch = mine, batch
        self.total, self.means = torch.zeros((), device=device), torch.zeros(len(mine), device=device)

    def add(self, pack: Pack, loss: Tensor, losses: Tensor) -> None:
        """Take up a pack's share of the batch's loss, and the loss at each of its positions, `[losses]`."""
        self.total += loss
        self.means.index_add_(0, pack.answers, losses * pack.weights * self.batch)

    def over(self, ranks: Ranks) -> tuple[float, list[float]]:
        """Loss of the batch, and of each of its answers, over all processes."""
        values = self.total.new_zeros(1 + self.batch)
        values[0] = self.total
        values[[1 + place for place in self.mine]] = self.means
        loss, *by_answer = ranks.sum(values).tolist()
        return loss, by_answer


def masked_fraction(row: TrainingRow, answer: Rollout, mask_token: int) -> float:
    """How much of an answer a row masks; the rest of the prompt and of the last block do not count."""
    index = row.positions - len(answer.prompt)
    inside = row.noised & (index >= 0) & (index < len(answer.ids))
    return float((row.ids[inside] == mask_token).mean())


def by_tenth(losses: Sequence[float], fractions: Sequence[float]) -> dict[str, float]:
    """Means of losses whose fractions, between 0 and 1, lie in the same tenth; 1 belongs to the last one."""
    tenths = [min(9, int(10 * fraction)) for fraction in fractions]
    return {
        f"{tenth / 10:.1f}-{(tenth + 1) / 10:.1f}": float(
            np.mean([loss for loss, own in zip(losses, tenths, strict=True) if own == tenth])
        )
        for tenth in sorted(set(tenths))
    }

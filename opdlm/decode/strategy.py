"""Remasking strategies: which of the drawn tokens a denoising step keeps (spec 3.4)."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from opdlm.config.decoding import DecodingSettings


class RemaskingStrategy(Protocol):
    """Chooses among the masked positions of each block."""

    def accept(self, confidence: Tensor, masked: Tensor) -> Tensor:
        """Positions to reveal.

        Args:
            confidence: probability of the drawn token, `[sequences, block]`.
            masked: bool `[sequences, block]`.

        Returns:
            bool `[sequences, block]`, a subset of `masked`, not empty where `masked` is not.
        """
        ...


@dataclass(frozen=True, slots=True)
class Static:
    """The `tokens` most confident masked positions."""

    tokens: int

    def accept(self, confidence: Tensor, masked: Tensor) -> Tensor:
        return _lowest(-confidence, masked, self.tokens)


@dataclass(frozen=True, slots=True)
class Dynamic:
    """Every masked position more confident than `threshold`, and in any case the `tokens` most confident ones."""

    threshold: float
    tokens: int

    def accept(self, confidence: Tensor, masked: Tensor) -> Tensor:
        return masked & (confidence > self.threshold) | _lowest(-confidence, masked, self.tokens)


@dataclass(frozen=True, slots=True)
class Sequential:
    """The first `tokens` masked positions from the left."""

    tokens: int

    def accept(self, confidence: Tensor, masked: Tensor) -> Tensor:
        order = torch.arange(masked.shape[-1], device=masked.device, dtype=confidence.dtype)
        return _lowest(order.expand_as(confidence), masked, self.tokens)


def _lowest(cost: Tensor, masked: Tensor, count: int) -> Tensor:
    """The `count` masked positions of lowest cost, the left one on a tie."""
    order = cost.masked_fill(~masked, torch.inf).argsort(dim=-1, stable=True)
    return masked & (order.argsort(dim=-1) < count)


def make_strategy(settings: DecodingSettings) -> RemaskingStrategy:
    """The strategy that the settings name. An autoregressive step reveals its one position."""
    if settings.strategy == "dynamic":
        return Dynamic(settings.threshold, settings.tokens_per_step)
    if settings.strategy == "sequential":
        return Sequential(settings.tokens_per_step)
    return Static(settings.tokens_per_step)

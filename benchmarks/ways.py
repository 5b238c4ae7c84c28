"""The ways to decode that are measured."""

from dataclasses import dataclass

import torch
from torch import Tensor

from opdlm.config.decoding import DecodingSettings
from opdlm.decode.strategy import RemaskingStrategy
from opdlm.model.shape import DEFAULT_BLOCK_SIZE


@dataclass(frozen=True, slots=True)
class Scripted:
    """Accepts the most confident masked position, and each other one with a fixed probability.

    The randomness comes out of the confidence's own bits, so that the choice needs no generator, does not synchronise
    with the host, and can be captured in a CUDA graph.
    """

    probability: float

    def accept(self, confidence: Tensor, masked: Tensor) -> Tensor:
        # Knuth's multiplicative hash: the upper bits of the product depend on all bits of the mantissa.
        bits = confidence.float().contiguous().view(torch.int32).long()
        uniform = (bits * 2_654_435_761 % 2**32) / 2**32
        best = confidence.masked_fill(~masked, -1.0).argmax(dim=-1, keepdim=True)
        return masked & ((uniform < self.probability) | torch.zeros_like(masked).scatter(-1, best, True))


@dataclass(frozen=True, slots=True)
class Way:
    """One way to decode: what it is called, tokens a block, settings, and what replaces the settings' strategy."""

    name: str
    block: int
    settings: DecodingSettings
    script: RemaskingStrategy | None = None


WAYS = {
    "static": Way("static", DEFAULT_BLOCK_SIZE, DecodingSettings(strategy="static", temperature=1.0)),
    "dynamic": Way(
        "dynamic (scripted acceptance)",
        DEFAULT_BLOCK_SIZE,
        DecodingSettings(strategy="dynamic", temperature=1.0),
        # A block of 4 takes 2.10 steps on average, 1.90 tokens each: with T(m) steps for m masked positions,
        # T(m) = 1 + sum over k of Binomial(k; m - 1, 0.528) T(m - 1 - k).
        Scripted(probability=0.528),
    ),
    "autoregressive": Way("autoregressive", 1, DecodingSettings(strategy="autoregressive", temperature=1.0)),
}

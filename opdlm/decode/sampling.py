"""Drawing tokens: batched, in fp32, reproducible for each request alone.

A draw depends on the request's seed, the position and the denoising step only, through a counter-based generator, so
that an answer does not change with the batch it is decoded in.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from opdlm.config.decoding import DecodingSettings


@dataclass(frozen=True, slots=True)
class Draws:
    """What the draws of some rows depend on beside the logits: the request's seed, the position, the denoising step.

    Each int64 `[rows]`.
    """

    seeds: Tensor
    positions: Tensor
    steps: Tensor


def draw_tokens(
    logits: Tensor, settings: DecodingSettings, draws: Draws, forbidden: int | None
) -> tuple[Tensor, Tensor]:
    """Draw one token per row, with its confidence: `draw` with the uniform numbers of `draws`.

    Without filters a CUDA device does it in one pass over the logits.
    """
    if logits.is_cuda and settings.top_k == 0 and settings.top_p == 1:
        from opdlm.decode.kernels import sampling

        return sampling.draw(logits, settings.temperature, draws, forbidden)
    return draw(logits, settings, uniform(draws.seeds, draws.positions, draws.steps), forbidden)


def draw(logits: Tensor, settings: DecodingSettings, uniforms: Tensor, forbidden: int | None) -> tuple[Tensor, Tensor]:
    """Draw one token per row, with its confidence.

    Args:
        logits: `[rows, vocabulary]`.
        settings: temperature, top-k, top-p.
        uniforms: `[rows]` in [0, 1).
        forbidden: a token that is never drawn (the mask token; spec 8.1 D17).

    Returns:
        tokens `[rows]`, and their probabilities `[rows]` under the unfiltered distribution at temperature 1.
    """
    scores = logits.float()
    if forbidden is not None:
        scores = scores.masked_fill(torch.arange(scores.shape[-1], device=scores.device) == forbidden, -torch.inf)
    if settings.temperature == 0:
        tokens = scores.argmax(dim=-1)
    else:
        filtered = _top_p(_top_k(scores / settings.temperature, settings.top_k), settings.top_p)
        tokens = _inverse_cdf(filtered.softmax(dim=-1), uniforms)
    # Relative to the largest score: the logarithm of the sum would lose the digits that tell near certainties apart.
    relative = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    return tokens, relative.gather(-1, tokens[:, None]).squeeze(-1) / relative.sum(dim=-1)


def _top_k(scores: Tensor, k: int) -> Tensor:
    """Keep the `k` highest scores of each row (0 keeps all)."""
    if k == 0 or k >= scores.shape[-1]:
        return scores
    kept = scores.topk(k, dim=-1).indices
    return torch.full_like(scores, -torch.inf).scatter(-1, kept, scores.gather(-1, kept))


def _top_p(scores: Tensor, p: float) -> Tensor:
    """Keep the smallest set of most likely tokens whose probability reaches `p`, at least one."""
    if p >= 1:
        return scores
    ordered, order = scores.sort(dim=-1, descending=True, stable=True)
    probabilities = ordered.softmax(dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities
    return torch.full_like(scores, -torch.inf).scatter(-1, order, ordered.masked_fill(before >= p, -torch.inf))


def _inverse_cdf(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """The token at which the running sum passes `uniforms`; a token of probability zero is never returned."""
    cumulative = probabilities.cumsum(dim=-1)
    target = uniforms[:, None] * cumulative[:, -1:]
    tokens = torch.searchsorted(cumulative, target, right=True).squeeze(-1)
    last = probabilities.shape[-1] - 1 - probabilities.flip(-1).gt(0).int().argmax(dim=-1)
    return torch.minimum(tokens, last)


MASK_32 = 0xFFFFFFFF


def uniform(seeds: Tensor, positions: Tensor, steps: Tensor) -> Tensor:
    """Numbers in [0, 1) that depend on (seed, position, step) alone.

    The three int64 tensors broadcast; each is folded into a 32-bit hash in turn.
    """
    state = _avalanche(seeds & MASK_32)
    state = _avalanche(state ^ (seeds >> 32 & MASK_32))
    state = _avalanche(state ^ (positions & MASK_32))
    state = _avalanche(state ^ _avalanche(steps & MASK_32))
    return (state >> 8).float() * 2.0**-24


def _avalanche(x: Tensor) -> Tensor:
    """Mix 32-bit values held in int64: MurmurHash3's finaliser, its multipliers cut to 31 bits against overflow."""
    x = (x + 0x9E3779B9) & MASK_32
    x = ((x ^ (x >> 16)) * 0x45EBCA6B) & MASK_32
    x = ((x ^ (x >> 13)) * 0x42B2AE35) & MASK_32
    return x ^ (x >> 16)

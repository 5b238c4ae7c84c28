"""Drawing tokens from logits in one pass over them.

The vocabulary is cut into chunks. The first kernel reads every logit once and keeps of each chunk its largest score and
two sums; the second finds the chunk where the running sum passes the uniform number, and reads that chunk alone again.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from opdlm.decode.sampling import Draws

CHUNK = 4096


@triton.jit
def _scan(
    logits, peaks, sums, tempered, places, vocabulary, forbidden, inverse_temperature,
    CHUNK: tl.constexpr, TEMPERED: tl.constexpr,
):  # fmt: skip
    """Largest score of a chunk, its place, and the sums of exponentials at temperature 1 and at the given one."""
    row, chunk = tl.program_id(0).to(tl.int64), tl.program_id(1)
    token = chunk * CHUNK + tl.arange(0, CHUNK)
    real = (token < vocabulary) & (token != forbidden)
    scores = tl.load(logits + row * vocabulary + token, mask=real, other=-float("inf")).to(tl.float32)
    peak, place = tl.max(scores, 0, return_indices=True)
    anchor = tl.where(peak == -float("inf"), 0.0, peak)
    at = row * tl.num_programs(1) + chunk
    tl.store(peaks + at, peak)
    tl.store(places + at, chunk * CHUNK + place)
    tl.store(sums + at, tl.sum(tl.exp(scores - anchor), 0))
    if TEMPERED:
        tl.store(tempered + at, tl.sum(tl.exp((scores - anchor) * inverse_temperature), 0))


@triton.jit
def _avalanche(x):
    """`opdlm.decode.sampling._avalanche`, bit for bit."""
    x = (x + 0x9E3779B9) & 0xFFFFFFFF
    x = ((x ^ (x >> 16)) * 0x45EBCA6B) & 0xFFFFFFFF
    x = ((x ^ (x >> 13)) * 0x42B2AE35) & 0xFFFFFFFF
    return x ^ (x >> 16)


@triton.jit
def _uniform(seed, position, step):
    """`opdlm.decode.sampling.uniform`, bit for bit."""
    state = _avalanche(seed & 0xFFFFFFFF)
    state = _avalanche(state ^ ((seed >> 32) & 0xFFFFFFFF))
    state = _avalanche(state ^ (position & 0xFFFFFFFF))
    state = _avalanche(state ^ _avalanche(step & 0xFFFFFFFF))
    return (state >> 8).to(tl.float32) * (1.0 / 16777216)


@triton.jit
def _pick(
    logits, peaks, sums, tempered, places, seeds, positions, steps, tokens, confidences,
    vocabulary, forbidden, inverse_temperature, used,
    CHUNKS: tl.constexpr, CHUNK: tl.constexpr, GREEDY: tl.constexpr,
):  # fmt: skip
    """The drawn token of a row and its probability at temperature 1."""
    row = tl.program_id(0).to(tl.int64)
    chunks = tl.arange(0, CHUNKS)
    real = chunks < used
    peak = tl.load(peaks + row * used + chunks, mask=real, other=-float("inf"))
    top, best = tl.max(peak, 0, return_indices=True)
    total = tl.sum(tl.load(sums + row * used + chunks, mask=real, other=0.0) * tl.exp(peak - top), 0)
    if GREEDY:
        token = tl.load(places + row * used + best)
        score = top
    else:
        weights = tl.load(tempered + row * used + chunks, mask=real, other=0.0)
        weights *= tl.exp((peak - top) * inverse_temperature)
        running = tl.cumsum(weights, 0)
        uniform = _uniform(tl.load(seeds + row), tl.load(positions + row), tl.load(steps + row))
        target = uniform * tl.sum(weights, 0)
        last = tl.max(tl.where(weights > 0, chunks, 0), 0)
        chunk = tl.minimum(tl.sum((running <= target).to(tl.int32), 0), last)
        before = tl.sum(tl.where(chunks < chunk, weights, 0.0), 0)
        offset = tl.arange(0, CHUNK)
        place = chunk * CHUNK + offset
        real = (place < vocabulary) & (place != forbidden)
        scores = tl.load(logits + row * vocabulary + place, mask=real, other=-float("inf")).to(tl.float32)
        inside = tl.exp((scores - top) * inverse_temperature)
        passed = tl.sum((tl.cumsum(inside, 0) <= target - before).to(tl.int32), 0)
        found = tl.minimum(passed, tl.max(tl.where(inside > 0, offset, 0), 0))
        # Rounding may stop on a token of probability zero; the next one that can be drawn takes its place.
        found = tl.min(tl.where((inside > 0) & (offset >= found), offset, CHUNK), 0)
        token = chunk * CHUNK + found
        score = tl.max(tl.where(offset == found, scores, -float("inf")), 0)
    tl.store(tokens + row, token.to(tl.int64))
    tl.store(confidences + row, tl.exp(score - top) / total)


def draw(logits: Tensor, temperature: float, draws: Draws, forbidden: int | None) -> tuple[Tensor, Tensor]:
    """Draw one token per row; as `opdlm.decode.sampling.draw_tokens` without filters.

    Args:
        logits: `[rows, vocabulary]`, contiguous.
        temperature: 0 takes the most likely token.
        draws: what the draws depend on.
        forbidden: a token that is never drawn.

    Returns:
        tokens `[rows]` and their probabilities `[rows]` at temperature 1.
    """
    rows, vocabulary = logits.shape
    used, device = triton.cdiv(vocabulary, CHUNK), logits.device
    peaks, sums, tempered = torch.empty(3, rows, used, device=device)
    places = torch.empty(rows, used, dtype=torch.int32, device=device)
    tokens = torch.empty(rows, dtype=torch.int64, device=device)
    confidences = torch.empty(rows, device=device)
    hidden = -1 if forbidden is None else forbidden
    inverse, is_tempered = 1 / (temperature or 1.0), temperature not in (0, 1)
    _scan[(rows, used)](
        logits, peaks, sums, tempered, places, vocabulary, hidden, inverse, CHUNK, is_tempered, num_warps=8
    )
    _pick[(rows,)](
        logits, peaks, sums, tempered if is_tempered else sums, places, draws.seeds, draws.positions, draws.steps,
        tokens, confidences, vocabulary, hidden, inverse, used,
        triton.next_power_of_2(used), CHUNK, temperature == 0, num_warps=8,
    )  # fmt: skip
    return tokens, confidences

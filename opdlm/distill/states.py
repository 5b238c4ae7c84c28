"""Which positions of an answer a training row masks: states of its own trajectory, or random masks (spec 4.2, 4.7)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from opdlm.blocks import block_start, covered
from opdlm.decode.request import Rollout

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
StateSampler = Callable[[IntArray, BoolArray, np.random.Generator], BoolArray]
"""`sampler(steps [blocks, block], answer [blocks, block], rng) -> masked [blocks, block]`."""


def reveal_steps(rollout: Rollout, block_size: int) -> tuple[IntArray, BoolArray]:
    """The denoised blocks of an answer.

    Returns:
        steps `[blocks, block]`: reveal step of each position, 0 for the rest of the prompt in the first block;
        answer `[blocks, block]`: whether the position belongs to the answer (not to the prompt or the tail).
    """
    prompt, answer = len(rollout.prompt), len(rollout.ids)
    opening = prompt - block_start(prompt, block_size)
    steps = np.array([0] * opening + rollout.steps + rollout.tail_steps, dtype=np.int64)
    place = np.arange(len(steps))
    inside = (place >= opening) & (place < opening + answer)
    return steps.reshape(-1, block_size), inside.reshape(-1, block_size)


def realised_state(steps: IntArray, answer: BoolArray, rng: np.random.Generator) -> BoolArray:
    """One state per block, drawn uniformly among those in which the decoder saw the block.

    The decoder saw a block once before each of its denoising steps, which are consecutive numbers. States in which
    the whole answer part was already revealed teach nothing and are left out.
    """
    first = np.where(steps > 0, steps, np.iinfo(np.int64).max).min(axis=1)
    last = np.where(answer, steps, 0).max(axis=1)
    drawn = rng.integers(first, last + 1)
    return steps >= drawn[:, None]


def random_state(steps: IntArray, answer: BoolArray, rng: np.random.Generator) -> BoolArray:
    """Random masks: per block a rate uniform in [0, 1), positions masked at that rate, at least one of the answer."""
    rate = rng.random((len(steps), 1))
    masked = (rng.random(steps.shape) < rate) & (steps > 0)
    forced = np.where(answer, rng.random(steps.shape), -1.0).argmax(axis=1)
    lacking = ~(masked & answer).any(axis=1)
    masked[lacking, forced[lacking]] = True
    return masked


def close_block(rollout: Rollout, block_size: int, end_token: int) -> Rollout:
    """An autoregressive answer filled up with end tokens to the end of its last block, revealed after the answer."""
    length = len(rollout.prompt) + len(rollout.ids)
    missing = covered(length, block_size) - length
    after = rollout.steps[-1]
    return Rollout(
        prompt=rollout.prompt,
        ids=rollout.ids,
        steps=rollout.steps,
        tail_ids=[end_token] * missing,
        tail_steps=list(range(after + 1, after + 1 + missing)),
        finish=rollout.finish,
    )

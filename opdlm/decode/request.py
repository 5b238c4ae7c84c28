"""What goes into the engine and what comes out: token ids, never text."""

from dataclasses import dataclass
from typing import Literal

NEVER = 2**31 - 1
"""Reveal step of a position that was still masked when its answer was finished."""


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt to answer.

    Attributes:
        prompt: token ids.
        max_tokens: longest answer, end token included.
        seed: the answer is a function of the model, the prompt, the settings and this, whatever else is in the batch.
    """

    prompt: list[int]
    max_tokens: int
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Rollout:
    """A finished answer with its trajectory.

    Attributes:
        prompt: token ids of the prompt.
        ids: token ids of the answer, end token included, cut exactly at the limit.
        steps: for each id the denoising step (from 1, over the whole answer) at which it was revealed.
        tail_ids: what stood in the rest of the last block; part of the states the model saw, not of the answer.
        tail_steps: reveal steps of the tail, `NEVER` where it was still masked.
        finish: `stop` at an end token, `length` at the limit.
    """

    prompt: list[int]
    ids: list[int]
    steps: list[int]
    tail_ids: list[int]
    tail_steps: list[int]
    finish: Literal["stop", "length"]

    @property
    def tokens_per_step(self) -> float:
        """Answer tokens per denoising step that revealed any of them (spec 6.6)."""
        return len(self.ids) / len(set(self.steps))

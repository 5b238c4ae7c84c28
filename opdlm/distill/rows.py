"""Packed training rows: `[clean sequence | noised answer blocks]` of several answers, end to end, without padding."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from opdlm.blocks import block_start
from opdlm.decode.request import Rollout
from opdlm.distill.states import BoolArray, IntArray, StateSampler, reveal_steps
from opdlm.model.attention import training
from opdlm.model.qwen3 import Attend

EndOfAnswer = Literal["exclude", "include", "fill"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One answer in one state. Arrays over the row: `ids`, `positions`, `noised` `[length]`.

    Attributes:
        loss_places: indices into the row that carry loss, `[losses]`.
        answer_index: for each of them the index of its token in the answer, -1 behind the end token, `[losses]`.
    """

    ids: IntArray
    positions: IntArray
    noised: BoolArray
    loss_places: IntArray
    answer_index: IntArray


def training_row(
    rollout: Rollout,
    block_size: int,
    mask_token: int,
    sample_state: StateSampler,
    end_of_answer: EndOfAnswer,
    rng: np.random.Generator,
) -> TrainingRow:
    """Build the row of one answer in a freshly drawn state.

    The noised part starts at the block that holds the first answer token, the rest of the prompt in front of it
    unmasked, exactly as the decoder saw it. The last block has no clean copy: nothing comes after it.
    """
    steps, answer = reveal_steps(rollout, block_size)
    masked = sample_state(steps, answer, rng).ravel()
    sequence = np.array([*rollout.prompt, *rollout.ids, *rollout.tail_ids], dtype=np.int64)
    begin, end = block_start(len(rollout.prompt), block_size), len(sequence)
    clean = np.arange(end - block_size)
    noised = np.arange(begin, end)
    index = noised - len(rollout.prompt)
    losses = masked & _carries_loss(index, rollout, end_of_answer)
    return TrainingRow(
        ids=np.concatenate([sequence[clean], np.where(masked, mask_token, sequence[noised])]),
        positions=np.concatenate([clean, noised]),
        noised=np.arange(len(clean) + len(noised)) >= len(clean),
        loss_places=len(clean) + np.flatnonzero(losses),
        answer_index=np.where(index < len(rollout.ids), index, -1)[losses],
    )


def _carries_loss(index: IntArray, rollout: Rollout, end_of_answer: EndOfAnswer) -> BoolArray:
    """Positions that may carry loss, by their index in the answer (negative in the prompt)."""
    length = len(rollout.ids)
    if rollout.finish == "length":
        return (index >= 0) & (index < length)
    last = {"exclude": length - 1, "include": length, "fill": np.iinfo(np.int64).max}[end_of_answer]
    return (index >= 0) & (index < last)


@dataclass(frozen=True, slots=True)
class Pack:
    """Rows of one forward pass.

    Attributes:
        ids, positions: `[tokens]`.
        attend: block-diffusion attention within each row.
        taught: number of positions that have a target; they come first among those that carry loss.
        places: flat indices that carry loss, `[losses]`.
        tokens: the clean token at each of them (the end token behind the answer), `[losses]`.
        teacher_rows: index of the teacher's hidden state that predicts each of them, -1 behind the answer, `[losses]`.
        weights: weight of each in the loss of the whole batch, `[losses]`.
        answers: the answer that each belongs to, by its place among those given to `packs`, `[losses]`.
    """

    ids: Tensor
    positions: Tensor
    attend: Attend
    taught: int
    places: Tensor
    tokens: Tensor
    teacher_rows: Tensor
    weights: Tensor
    answers: Tensor


@dataclass(frozen=True, slots=True)
class Answer:
    """A row with what the loss needs to know of its answer.

    Attributes:
        row: the training row.
        ids: token ids of the answer.
        teacher_start: index of the first of the answer's hidden states among the teacher's.
    """

    row: TrainingRow
    ids: list[int]
    teacher_start: int


def packs(
    answers: Sequence[Answer], batch: int, budget: int, block_size: int, end_token: int, device: torch.device
) -> Iterator[Pack]:
    """Split answers of a batch of `batch` into packs of at most `budget` tokens (a longer row goes alone).

    Each answer's loss is the mean over its own positions, and the batch's loss the mean over its answers (spec 4.6),
    however the batch is cut.
    """
    first = 0
    for group in grouped(answers, lambda answer: len(answer.row.ids), budget):
        yield _pack(group, first, batch, block_size, end_token, device)
        first += len(group)


def grouped(items: Sequence[T], length: Callable[[T], int], budget: int) -> Iterator[list[T]]:
    """Cut a sequence into groups of at most `budget` tokens in all; a longer item goes alone."""
    group: list[T] = []
    tokens = 0
    for item in items:
        if group and tokens + length(item) > budget:
            yield group
            group, tokens = [], 0
        group.append(item)
        tokens += length(item)
    if group:
        yield group


def _pack(group: list[Answer], first: int, batch: int, block_size: int, end_token: int, device: torch.device) -> Pack:
    rows = [answer.row for answer in group]
    lengths = [len(row.ids) for row in rows]
    starts = np.cumsum([0, *lengths[:-1]])
    clean_ids = [np.array([*answer.ids, end_token])[answer.row.answer_index] for answer in group]
    teacher = [
        np.where(answer.row.answer_index >= 0, answer.row.answer_index + answer.teacher_start, -1) for answer in group
    ]
    weights = [np.full(len(row.loss_places), 1 / max(1, len(row.loss_places)) / batch) for row in rows]

    def flat(parts: list[np.ndarray], dtype: torch.dtype = torch.int64) -> Tensor:
        return torch.from_numpy(np.concatenate(parts)).to(device, dtype)

    # Positions behind the answers, which have no target, come last.
    teacher_rows = np.concatenate(teacher)
    sorting = np.argsort(teacher_rows < 0, kind="stable")
    places = [row.loss_places + start for row, start in zip(rows, starts, strict=True)]
    positions = flat([row.positions for row in rows])
    noised = flat([row.noised for row in rows], torch.bool)
    return Pack(
        ids=flat([row.ids for row in rows]),
        positions=positions,
        attend=training(lengths, positions, noised, block_size),
        taught=int((teacher_rows >= 0).sum()),
        places=flat([np.concatenate(places)[sorting]]),
        tokens=flat([np.concatenate(clean_ids)[sorting]]),
        teacher_rows=flat([teacher_rows[sorting]]),
        weights=flat([np.concatenate(weights)[sorting]], torch.float32),
        answers=flat([first + np.repeat(np.arange(len(rows)), [len(row.loss_places) for row in rows])[sorting]]),
    )

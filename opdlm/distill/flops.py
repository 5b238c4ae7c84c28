"""Floating-point operations of a run: as the paper counts them, and as really spent.

A product of `[m, k]` and `[k, n]` is `2 m k n` operations. What is spent is counted from the shapes of what is
forwarded: the products of the linear layers, of the LM head and of attention. Norms, softmax and the optimiser are left
out, and so is what a device does beyond need: padded tokens, attention to tokens that the mask hides.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from opdlm.decode.request import NEVER, Rollout
from opdlm.distill.rows import TrainingRow
from opdlm.distill.states import reveal_steps
from opdlm.model.shape import Shape


@dataclass(frozen=True, slots=True)
class Work:
    """What a model is given to do.

    Attributes:
        tokens: tokens that pass through the layers.
        pairs: pairs of one of them and a token that it sees, itself included.
        logits: rows of logits.
    """

    tokens: int = 0
    pairs: int = 0
    logits: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(self.tokens + other.tokens, self.pairs + other.pairs, self.logits + other.logits)


def weights(shape: Shape) -> int:
    """Number of a model's weights; a tied embedding counts once."""
    embedding = shape.vocab_size * shape.hidden_size * (1 if shape.tie_word_embeddings else 2)
    norms = 2 * shape.hidden_size + 2 * shape.head_dim
    return embedding + shape.hidden_size + shape.num_hidden_layers * (_linear(shape, 1) // 2 + norms)


def paper(student: int, teacher: int, tokens: int) -> int:
    """The paper's count: `6 N` a token for the student's forward and backward pass, `2 N` for the teacher's forward.

    Args:
        student, teacher: number of weights, the embedding included.
        tokens: answer tokens trained on.
    """
    return (6 * student + 2 * teacher) * tokens


def forward(shape: Shape, work: Work) -> int:
    """Operations of a forward pass."""
    layer = _linear(shape, work.tokens) + 2 * _attention_product(shape, work.pairs)
    return layer * shape.num_hidden_layers + head(shape, work.logits)


def update(shape: Shape, work: Work, recomputed: int) -> int:
    """Operations of a forward and a backward pass; the first `recomputed` layers are forwarded once more.

    Each product has two in the backward pass, one a factor. Attention has five for its two, since it computes its
    scores again and does not keep them. A layer is computed again but for its last product, which no gradient needs.
    """
    linear, attention = _linear(shape, work.tokens), _attention_product(shape, work.pairs)
    again = linear + 2 * attention - 2 * work.tokens * shape.intermediate_size * shape.hidden_size
    layers = shape.num_hidden_layers * (3 * linear + 7 * attention) + recomputed * again
    return layers + 3 * head(shape, work.logits)


def head(shape: Shape, rows: int) -> int:
    """Operations of so many rows of logits."""
    return 2 * rows * shape.hidden_size * shape.vocab_size


def _linear(shape: Shape, tokens: int) -> int:
    """Linear layers of one layer."""
    wide, narrow = shape.num_attention_heads * shape.head_dim, shape.num_key_value_heads * shape.head_dim
    return 2 * tokens * shape.hidden_size * (2 * wide + 2 * narrow + 3 * shape.intermediate_size)


def _attention_product(shape: Shape, pairs: int) -> int:
    """One of attention's two products in one layer."""
    return 2 * pairs * shape.num_attention_heads * shape.head_dim


def in_rows(rows: Iterable[TrainingRow], block_size: int) -> Work:
    """What the student has to do for training rows; in both copies a token sees as many as its block's end says."""
    return sum((_in_row(row, block_size) for row in rows), Work())


def _in_row(row: TrainingRow, block_size: int) -> Work:
    seen = row.positions // block_size * block_size + block_size
    return Work(len(row.ids), int(seen.sum()), len(row.loss_places))


def reading(answers: Iterable[Rollout]) -> Work:
    """What the teacher has to do to read prompts and answers; its logits are the business of the updates."""
    return sum((_causal(len(answer.prompt) + len(answer.ids) - 1) for answer in answers), Work())


def writing(answers: Iterable[Rollout], block_size: int | None) -> Work:
    """What it took to write answers, by their trajectories.

    Args:
        answers: of one rollout.
        block_size: of the student; none if an autoregressive model wrote them.
    """
    if block_size is None:
        # A token's forward gives the logits of the next.
        return reading(answers) + Work(logits=sum(len(answer.ids) for answer in answers))
    return sum((_denoising(answer, block_size) for answer in answers), Work())


def _causal(length: int) -> Work:
    return Work(tokens=length, pairs=length * (length + 1) // 2)


def _denoising(answer: Rollout, block_size: int) -> Work:
    """Each block is forwarded once a denoising step, and clean after it, except for the last; prompt blocks only clean.

    The logits of a position are computed in every step until it is revealed.
    """
    steps, _ = reveal_steps(answer, block_size)
    masked = steps > 0
    first = np.where(masked, steps, NEVER).min(axis=1)
    last = np.where(steps < NEVER, steps, 0).max(axis=1)
    blocks = len(answer.prompt) // block_size + len(steps)
    passes = np.ones(blocks, dtype=np.int64)  # the clean ones
    passes[-1] = 0
    passes[-len(steps) :] += last - first + 1
    tokens = passes * block_size
    logits = (np.minimum(steps, last[:, None]) - first[:, None] + 1)[masked]
    return Work(int(tokens.sum()), int((tokens * (np.arange(blocks) + 1) * block_size).sum()), int(logits.sum()))

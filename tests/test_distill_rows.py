"""Training rows: states of the trajectory, loss positions, and logits equal to the decoder's."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from opdlm.config.decoding import DecodingSettings
from opdlm.decode.engine import Engine
from opdlm.decode.request import NEVER, Request, Rollout
from opdlm.distill.rows import Answer, packs, training_row
from opdlm.distill.states import close_block, random_state, realised_state, reveal_steps
from opdlm.model.attention import causal
from opdlm.model.qwen3 import Qwen3
from tests.conftest import END_TOKEN, MASK_TOKEN, assert_close
from tests.test_engine import prompt

BLOCK = 4


def recorded(student: Qwen3, length: int, limit: int = 14, seed: int = 0) -> tuple[Rollout, list[Tensor]]:
    """A sampled answer, and the logits of the masked positions that the engine computed at each of its steps."""
    logits: list[Tensor] = []
    apply_head = student.logits

    def spy(hidden: Tensor) -> Tensor:
        logits.append(apply_head(hidden))
        return logits[-1]

    student.logits = spy  # type: ignore[method-assign]
    how = DecodingSettings(strategy="dynamic", threshold=0.35, temperature=1.0)
    [rollout] = Engine(student, [END_TOKEN]).generate([Request(prompt(length), limit, seed)], how)
    student.logits = apply_head  # type: ignore[method-assign]
    return rollout, logits


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("length", range(1, 10))
@torch.no_grad()
def test_packed_logits_of_a_recorded_state_are_the_engines(student: Qwen3, length: int, seed: int) -> None:
    rollout, engine_logits = recorded(student, length, seed=seed)
    opening = length % BLOCK
    steps, _ = reveal_steps(rollout, BLOCK)
    for step, expected in enumerate(engine_logits, start=1):
        row = training_row(
            rollout, BLOCK, MASK_TOKEN, lambda s, a, r, step=step: s >= step, "fill", np.random.default_rng(0)
        )
        pack = next(packs([Answer(row, rollout.ids, 0)], 1, 10**6, BLOCK, END_TOKEN, torch.device("cpu")))
        hidden = student(pack.ids, pack.positions, pack.attend)
        block = next(index for index, values in enumerate(steps) if step in values)
        clean = len(row.ids) - steps.size
        masked = np.flatnonzero(steps[block] >= step) + block * BLOCK + clean
        assert_close(student.logits(hidden[masked]), expected)
    assert opening == (steps[0] == 0).sum()


step_maps = st.lists(st.lists(st.integers(1, 4), min_size=BLOCK, max_size=BLOCK), min_size=1, max_size=4)


def consecutive(blocks: list[list[int]]) -> np.ndarray:
    """Reveal steps as a decoder leaves them: consecutive within a block, going on over the blocks."""
    result, offset = [], 0
    for block in blocks:
        ranks = {value: rank for rank, value in enumerate(sorted(set(block)), start=1)}
        result.append([offset + ranks[value] for value in block])
        offset += len(ranks)
    return np.array(result)


@given(blocks=step_maps, seed=st.integers(0, 1000))
def test_a_realised_state_masks_what_was_revealed_at_or_after_one_step(blocks: list[list[int]], seed: int) -> None:
    steps = consecutive(blocks)
    masked = realised_state(steps, np.ones_like(steps, dtype=bool), np.random.default_rng(seed))
    for block, mask in zip(steps, masked, strict=True):
        assert any((mask == (block >= step)).all() for step in set(block))


def test_states_of_a_block_are_equally_likely() -> None:
    steps = np.tile([[7, 5, 6, 5]], (30_000, 1))
    masked = realised_state(steps, np.ones_like(steps, dtype=bool), np.random.default_rng(0))
    counts = np.bincount(masked.sum(axis=1), minlength=5)
    assert counts[0] == counts[3] == 0
    assert np.abs(counts[[1, 2, 4]] - 10_000).max() < 400


def test_states_after_the_answer_is_complete_are_left_out() -> None:
    steps, answer = np.tile([[0, 3, 4, 5]], (1000, 1)), np.tile([[False, True, True, False]], (1000, 1))
    masked = realised_state(steps, answer, np.random.default_rng(0))
    assert not masked[:, 0].any(), "the prompt is never masked"
    assert set(masked[:, 1:3].sum(axis=1)) == {1, 2}


def test_random_masks_have_uniform_rates_and_at_least_one_answer_token() -> None:
    steps, answer = np.tile([[0, 1, 2, 3]], (40_000, 1)), np.tile([[False, True, True, True]], (40_000, 1))
    masked = random_state(steps, answer, np.random.default_rng(0))
    assert not masked[:, 0].any()
    counts = np.bincount(masked.sum(axis=1), minlength=4)
    # With a uniform rate all numbers of masks are equally likely; those with none are given one.
    assert np.abs(counts / 40_000 - [0, 0.5, 0.25, 0.25]).max() < 0.01


ANSWER = Rollout(
    prompt=[1, 2, 3, 4, 5],
    ids=[10, 11, 12, 13, END_TOKEN],
    steps=[2, 1, 3, 4, 5],
    tail_ids=[7, MASK_TOKEN],
    tail_steps=[4, NEVER],
    finish="stop",
)


@pytest.mark.parametrize(
    ("end_of_answer", "indices"),
    [("exclude", [0, 1, 2, 3]), ("include", [0, 1, 2, 3, 4]), ("fill", [0, 1, 2, 3, 4, -1, -1])],
)
def test_loss_positions_at_the_end_of_an_answer(end_of_answer: str, indices: list[int]) -> None:
    row = training_row(
        ANSWER,
        BLOCK,
        MASK_TOKEN,
        lambda s, a, r: s > 0,
        end_of_answer,
        np.random.default_rng(0),  # type: ignore[arg-type]
    )
    assert row.answer_index.tolist() == indices
    assert row.ids.tolist() == [1, 2, 3, 4, 5, 10, 11, 12, 5, *[MASK_TOKEN] * 7]
    assert row.positions.tolist() == [*range(8), *range(4, 12)]
    assert row.loss_places.tolist() == [9, 10, 11, 12, 13, 14, 15][: len(indices)]


def test_an_answer_cut_at_the_limit_has_loss_up_to_the_limit_and_not_behind() -> None:
    cut = Rollout([1, 2, 3, 4, 5], [10, 11, 12, 13, 14], [2, 1, 3, 4, 5], [7, MASK_TOKEN], [4, NEVER], "length")
    for end_of_answer in ("exclude", "include", "fill"):
        row = training_row(cut, BLOCK, MASK_TOKEN, lambda s, a, r: s > 0, end_of_answer, np.random.default_rng(0))  # type: ignore[arg-type]
        assert row.answer_index.tolist() == [0, 1, 2, 3, 4]


def test_weights_are_means_per_answer_and_over_the_batch_however_it_is_packed() -> None:
    rng = np.random.default_rng(0)
    rows = [Answer(training_row(ANSWER, BLOCK, MASK_TOKEN, random_state, "fill", rng), ANSWER.ids, 0) for _ in range(5)]
    for budget in (1, 40, 1000):
        parts = list(packs(rows, len(rows), budget, BLOCK, END_TOKEN, torch.device("cpu")))
        assert sum(len(pack.ids) for pack in parts) == sum(len(answer.row.ids) for answer in rows), "no padding"
        weights = torch.cat([pack.weights[pack.places.argsort()] for pack in parts])
        expected = [1 / len(a.row.loss_places) / 5 for a in rows for _ in a.row.loss_places]
        torch.testing.assert_close(weights, torch.tensor(expected))
        assert len(parts) == {1: 5, 40: 3, 1000: 1}[budget]
        for pack in parts:
            has_target = pack.teacher_rows >= 0
            assert bool(has_target[: pack.taught].all())
            assert not bool(has_target[pack.taught :].any()), "positions without a target come last"


@torch.no_grad()
def test_the_target_of_a_token_is_the_teachers_distribution_after_the_token_before_it(teacher: Qwen3) -> None:
    row = training_row(ANSWER, BLOCK, MASK_TOKEN, lambda s, a, r: s > 0, "include", np.random.default_rng(0))
    pack = next(packs([Answer(row, ANSWER.ids, 100)], 1, 1000, BLOCK, END_TOKEN, torch.device("cpu")))
    sequence = [*ANSWER.prompt, *ANSWER.ids]
    for place, teacher_row, token in zip(pack.places, pack.teacher_rows, pack.tokens, strict=True):
        position = int(pack.positions[place])
        assert int(token) == sequence[position]
        assert int(teacher_row) - 100 == position - len(ANSWER.prompt)


@torch.no_grad()
def test_one_causal_pass_gives_the_published_doubled_passes_targets(teacher: Qwen3) -> None:
    """The published teacher reads `[clean | clean copy]` under the block mask cut to its lower triangle (spec 4.4)."""
    from opdlm.blocks import training_mask
    from opdlm.model.attention import SegmentAttention

    ids = torch.tensor([1, 2, 3, 4, 10, 11, 12, 13, 14, 15, 16, 17])
    single = teacher(ids, torch.arange(12), causal([12]))
    copy = torch.arange(4, 12)
    positions = torch.cat([torch.arange(12), copy])
    mask = training_mask(positions, torch.arange(20) >= 12, BLOCK)
    mask[:12, :12] &= torch.ones(12, 12).tril().bool()
    mask[12:, 12:] &= torch.ones(8, 8).tril().bool()
    doubled = teacher(ids[positions], positions, SegmentAttention([20], [mask]))
    assert_close(doubled[12:], single[4:])


def test_an_autoregressive_answer_is_filled_up_to_its_block() -> None:
    closed = close_block(
        Rollout(
            [1, 2],
            [
                5,
                END_TOKEN,
            ],
            [1, 2],
            [],
            [],
            "stop",
        ),
        BLOCK,
        END_TOKEN,
    )
    assert (closed.tail_ids, closed.tail_steps) == ([], [])
    closed = close_block(Rollout([1, 2], [5, 6, END_TOKEN], [1, 2, 3], [], [], "stop"), BLOCK, END_TOKEN)
    assert (closed.tail_ids, closed.tail_steps) == ([END_TOKEN] * 3, [4, 5, 6])

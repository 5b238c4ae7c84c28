"""The promises of each strategy: whatever the batch and the lengths, answers are valid; bad requests are refused."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from opdlm.config.decoding import DecodingSettings
from opdlm.decode.engine import Engine
from opdlm.decode.request import NEVER, Request, Rollout
from opdlm.errors import DataError, SettingsError
from opdlm.model.qwen3 import Qwen3
from tests.conftest import END_TOKEN, MASK_TOKEN, VOCABULARY, make_model

GREEDY = DecodingSettings(strategy="static")
SAMPLED = DecodingSettings(strategy="static", temperature=1.0)


def prompt(length: int, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(100 * length + seed)
    return torch.randint(END_TOKEN, (length,), generator=generator).tolist()


def decode(model: Qwen3, requests: list[Request], how: DecodingSettings, slots: int = 8) -> list[Rollout]:
    return Engine(model, [END_TOKEN], slots).generate(requests, how)


@pytest.mark.parametrize("how", [GREEDY, SAMPLED, DecodingSettings(strategy="dynamic", threshold=0.4, temperature=1)])
def test_an_answer_does_not_depend_on_its_batch(student: Qwen3, how: DecodingSettings) -> None:
    requests = [Request(prompt(3 + index, index), 5 + 3 * index, seed=index) for index in range(7)]
    alone = [decode(student, [request], how)[0] for request in requests]
    assert decode(student, requests, how, slots=7) == alone
    assert decode(student, requests, how, slots=2) == alone


def test_seeds_change_sampled_answers(student: Qwen3) -> None:
    first, second = decode(student, [Request(prompt(5), 16, seed=1), Request(prompt(5), 16, seed=2)], SAMPLED)
    assert first.ids != second.ids


def test_dynamic_with_threshold_one_is_static(student: Qwen3) -> None:
    requests = [Request(prompt(length), 20, seed=length) for length in range(1, 9)]
    dynamic = DecodingSettings(strategy="dynamic", threshold=1.0, temperature=1.0)
    assert decode(student, requests, dynamic) == decode(student, requests, SAMPLED)


def test_dynamic_with_threshold_zero_reveals_whole_blocks(student: Qwen3) -> None:
    [rollout] = decode(student, [Request(prompt(6), 10)], DecodingSettings(strategy="dynamic", threshold=0.0))
    expected = [1, 1, 2, 2, 2, 2, 3, 3, 3, 3][: len(rollout.ids)]
    assert rollout.steps == expected


def assert_valid(request: Request, rollout: Rollout, block_size: int = 4) -> None:
    """What holds for a rollout of any strategy."""
    assert 1 <= len(rollout.ids) == len(rollout.steps) <= request.max_tokens
    assert END_TOKEN not in rollout.ids[:-1]
    assert (rollout.finish == "stop") == (rollout.ids[-1] == END_TOKEN)
    assert rollout.finish == "stop" or len(rollout.ids) == request.max_tokens
    assert MASK_TOKEN not in rollout.ids
    assert (len(request.prompt) + len(rollout.ids) + len(rollout.tail_ids)) % block_size == 0
    assert len(rollout.tail_ids) == len(rollout.tail_steps) < block_size
    hidden = [step == NEVER for step in rollout.tail_steps]
    assert hidden == [token == MASK_TOKEN for token in rollout.tail_ids]
    every = rollout.steps + [step for step in rollout.tail_steps if step != NEVER]
    assert set(every) == set(range(1, max(every) + 1)), "every step reveals a token"
    blocks = [(len(request.prompt) + index) // block_size for index in range(len(rollout.steps))]
    for (block, step), (later_block, later_step) in pairwise(zip(blocks, rollout.steps, strict=True)):
        assert later_block == block or later_step > step, "a block starts after the one before it is done"


small_requests = st.lists(st.tuples(st.integers(1, 11), st.integers(1, 14)), min_size=1, max_size=5)


@settings(max_examples=60)
@given(
    lengths=small_requests,
    tokens=st.integers(1, 4),
    threshold=st.floats(0.05, 1.0),
    strategy=st.sampled_from(["static", "dynamic", "sequential"]),
    seed=st.integers(0, 2**62),
    slots=st.integers(1, 4),
)
def test_invariants_of_the_reveal_map(
    lengths: list[tuple[int, int]], tokens: int, threshold: float, strategy: str, seed: int, slots: int
) -> None:
    how = DecodingSettings(strategy=strategy, tokens_per_step=tokens, threshold=threshold, temperature=1.0)
    requests = [Request(prompt(length), limit, seed) for length, limit in lengths]
    for request, rollout in zip(requests, decode(make_model(), requests, how, slots), strict=True):
        assert_valid(request, rollout)
        every = rollout.steps + rollout.tail_steps
        assert strategy == "dynamic" or max(every.count(step) for step in every if step != NEVER) <= tokens


@dataclass
class Patterns:
    """Reveals what a list of bit patterns says, in turn; the last masked position where that is nothing."""

    patterns: list[int]
    calls: int = 0

    def accept(self, confidence: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
        assert confidence.shape == masked.shape
        assert (confidence[masked] > 0).all()
        pattern = self.patterns[self.calls % len(self.patterns)]
        self.calls += 1
        chosen = masked & (pattern >> torch.arange(masked.shape[-1]) & 1).bool()
        last = masked & (masked.flip(-1).cumsum(-1).flip(-1) == 1)
        return torch.where(chosen.any(dim=-1, keepdim=True), chosen, last)


@settings(max_examples=40)
@given(
    lengths=small_requests,
    patterns=st.lists(st.integers(0, 255), min_size=1, max_size=12),
    block_size=st.sampled_from([1, 2, 4, 8]),
    slots=st.integers(1, 4),
)
def test_any_strategy_that_reveals_something_gives_valid_rollouts(
    lengths: list[tuple[int, int]], patterns: list[int], block_size: int, slots: int
) -> None:
    requests = [Request(prompt(length), limit, place) for place, (length, limit) in enumerate(lengths)]
    engine, strategy = Engine(make_model(block_size), [END_TOKEN], slots), Patterns(patterns)
    for request, rollout in zip(requests, engine.generate(requests, SAMPLED, strategy), strict=True):
        assert_valid(request, rollout, block_size)


def test_a_strategy_of_ones_own_takes_the_place_of_the_named_one(student: Qwen3) -> None:
    """Here one that reveals from the right, and after the first block the outer pair first."""
    engine, strategy = Engine(student, [MASK_TOKEN]), Patterns([0, 0, 0, 0, 0b1001, 0b0110])
    [rollout] = engine.generate([Request(prompt(4), 14)], GREEDY, strategy)
    assert rollout.steps == [4, 3, 2, 1, 5, 6, 6, 5, 10, 9, 8, 7, 11, 12]
    assert rollout.tail_steps == [12, 11]


def test_an_answer_is_cut_exactly_at_its_limit(student: Qwen3) -> None:
    without_end = Engine(student, [MASK_TOKEN])
    for limit in range(1, 10):
        [rollout] = without_end.generate([Request(prompt(5), limit)], GREEDY)
        assert len(rollout.ids) == limit
        assert rollout.finish == "length"


@pytest.mark.parametrize("place", range(6))
def test_an_end_token_ends_the_answer_wherever_it_stands_in_its_block(student: Qwen3, place: int) -> None:
    [free] = Engine(student, [MASK_TOKEN]).generate([Request(prompt(5), 12)], GREEDY)
    first = free.ids.index(free.ids[place])
    [stopped] = Engine(student, [free.ids[place]]).generate([Request(prompt(5), 12)], GREEDY)
    assert stopped.ids == free.ids[: first + 1]
    assert stopped.finish == "stop"


def test_an_end_token_right_behind_the_limit_does_not_lengthen_the_answer(student: Qwen3) -> None:
    [free] = Engine(student, [MASK_TOKEN]).generate([Request(prompt(5), 12)], GREEDY)
    limit = next(n for n in range(1, 12) if (5 + n) % 4 and free.ids[n] not in free.ids[:n])
    [cut] = Engine(student, [free.ids[limit]]).generate([Request(prompt(5), limit)], GREEDY)
    assert (cut.ids, cut.finish) == (free.ids[:limit], "length")


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request([], 4), "the prompt is empty"),
        (Request([1, MASK_TOKEN], 4), r"the prompt holds the mask token \(39\)"),
        (Request([1] * 200, 57), "200 prompt tokens and 57 new ones exceed the model's 256 positions"),
        (Request([1], 0), "max_tokens is 0; it must be at least 1"),
        (Request([1, VOCABULARY], 4), r"the prompt holds a token outside the model's vocabulary \(0 to 39\)"),
        (Request([1, -1], 4), "the prompt holds a token outside the model's vocabulary"),
    ],
)
def test_bad_requests_are_refused_before_decoding(student: Qwen3, request_: Request, message: str) -> None:
    with pytest.raises(DataError, match=f"request 1: .*{message}"):
        Engine(student, [END_TOKEN]).stream([Request([1], 4), request_], GREEDY)


def test_an_answer_may_end_at_the_models_last_position(student: Qwen3) -> None:
    [rollout] = Engine(student, [MASK_TOKEN]).generate([Request(prompt(200), 56)], DecodingSettings(strategy="dynamic"))
    assert len(rollout.ids) == 56


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(ValidationError, match="'static', 'dynamic', 'sequential' or 'autoregressive'"):
        DecodingSettings(strategy="entropy")


def test_a_strategy_that_does_not_fit_the_model_is_refused(student: Qwen3, teacher: Qwen3) -> None:
    with pytest.raises(SettingsError, match="needs an autoregressive model"):
        decode(student, [Request([1], 4)], DecodingSettings(strategy="autoregressive"))
    with pytest.raises(SettingsError, match="needs a block-diffusion model"):
        decode(teacher, [Request([1], 4)], GREEDY)


def test_no_requests_give_no_answers(student: Qwen3) -> None:
    assert decode(student, [], GREEDY) == []

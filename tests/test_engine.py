"""Decoding against a plain re-computation of every forward, and the promises of each strategy."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from opdlm.blocks import block_start, clean_mask
from opdlm.config.decoding import DecodingSettings
from opdlm.decode.engine import Engine
from opdlm.decode.request import NEVER, Request, Rollout
from opdlm.errors import DataError, SettingsError
from opdlm.model.attention import SegmentAttention, causal
from opdlm.model.qwen3 import Qwen3
from tests.conftest import END_TOKEN, MASK_TOKEN, make_model

GREEDY = DecodingSettings(strategy="static")
SAMPLED = DecodingSettings(strategy="static", temperature=1.0)


def prompt(length: int, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(100 * length + seed)
    return torch.randint(END_TOKEN, (length,), generator=generator).tolist()


def decode(model: Qwen3, requests: list[Request], how: DecodingSettings, slots: int = 8) -> list[Rollout]:
    return Engine(model, [END_TOKEN], slots).generate(requests, how)


@torch.no_grad()
def plain_greedy(model: Qwen3, start: list[int], limit: int, how: DecodingSettings) -> tuple[list[int], list[int]]:
    """Block decoding without cache, batch or vector code: one full forward a step. Returns ids and reveal steps."""
    block_size, ids, step = 4, list(start), 0
    steps: dict[int, int] = {}
    while True:
        begin = block_start(len(ids), block_size) if step == 0 else len(ids)
        tokens = ids + [MASK_TOKEN] * (begin + block_size - len(ids))
        while True:
            positions = torch.arange(len(tokens))
            attend = SegmentAttention([len(tokens)], [clean_mask(positions, positions, block_size)])
            logits = model.logits(model(torch.tensor(tokens), positions, attend))
            logits[:, MASK_TOKEN] = -torch.inf
            best = logits.softmax(-1).max(-1)
            masked = [p for p in range(begin, begin + block_size) if p >= len(start) and p not in steps]
            step += 1
            by_confidence = sorted(masked, key=lambda p: (-best.values[p].item(), p))
            if how.strategy == "sequential":
                chosen = masked[: how.tokens_per_step]
            else:
                chosen = by_confidence[: how.tokens_per_step]
            if how.strategy == "dynamic":
                chosen = sorted({*chosen, *(p for p in masked if best.values[p].item() > how.threshold)})
            for position in chosen:
                tokens[position] = int(best.indices[position])
                steps[position] = step
            revealed = [p for p in range(len(start), begin + block_size) if p in steps]
            ends = [p + 1 for p in revealed if tokens[p] == END_TOKEN]
            end = min([*ends, len(start) + limit])
            if all(p in steps for p in range(len(start), min(end, begin + block_size))):
                break
        if end <= begin + block_size:
            return tokens[len(start) : end], [steps[p] for p in range(len(start), end)]
        ids = tokens


HOWS = [
    GREEDY,
    DecodingSettings(strategy="static", tokens_per_step=3),
    DecodingSettings(strategy="dynamic", threshold=0.3),
    DecodingSettings(strategy="sequential", tokens_per_step=2),
]


@pytest.mark.parametrize("how", HOWS, ids=lambda how: f"{how.strategy}-{how.tokens_per_step}")
@pytest.mark.parametrize("length", range(1, 10))
def test_greedy_decoding_equals_a_plain_recomputation(student: Qwen3, how: DecodingSettings, length: int) -> None:
    [rollout] = decode(student, [Request(prompt(length), 18)], how)
    assert (rollout.ids, rollout.steps) == plain_greedy(student, prompt(length), 18, how)


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


def test_autoregressive_decoding_equals_a_full_forward_per_token(teacher: Qwen3) -> None:
    how = DecodingSettings(strategy="autoregressive")
    requests = [Request(prompt(length), 15) for length in (1, 2, 5, 9)]
    for request, rollout in zip(requests, decode(teacher, requests, how), strict=True):
        ids = list(request.prompt)
        for _ in range(15):
            with torch.no_grad():
                hidden = teacher(torch.tensor(ids), torch.arange(len(ids)), causal([len(ids)]))
            ids.append(int(teacher.logits(hidden[-1:]).argmax()))
            if ids[-1] == END_TOKEN:
                break
        assert rollout.ids == ids[len(request.prompt) :]
        assert rollout.steps == list(range(1, len(rollout.ids) + 1))
        assert rollout.tail_ids == []


@settings(max_examples=60)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 11), st.integers(1, 14)), min_size=1, max_size=5),
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
        assert 1 <= len(rollout.ids) == len(rollout.steps) <= request.max_tokens
        assert END_TOKEN not in rollout.ids[:-1]
        assert (rollout.finish == "stop") == (rollout.ids[-1] == END_TOKEN)
        assert MASK_TOKEN not in rollout.ids
        assert (len(request.prompt) + len(rollout.ids) + len(rollout.tail_ids)) % 4 == 0
        assert len(rollout.tail_ids) == len(rollout.tail_steps) < 4
        hidden = [step == NEVER for step in rollout.tail_steps]
        assert hidden == [token == MASK_TOKEN for token in rollout.tail_ids]
        every = rollout.steps + [step for step in rollout.tail_steps if step != NEVER]
        assert set(every) == set(range(1, max(every) + 1)), "every step reveals a token"
        blocks = [(len(request.prompt) + index) // 4 for index in range(len(rollout.steps))]
        for (block, step), (later_block, later_step) in zip(
            zip(blocks, rollout.steps, strict=True), list(zip(blocks, rollout.steps, strict=True))[1:], strict=False
        ):
            assert later_block == block or later_step > step, "a block starts after the one before it is done"
        if strategy != "dynamic":
            assert max(every.count(step) for step in every) <= tokens


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
        (Request([], 4), "request 0: the prompt is empty"),
        (Request([1, MASK_TOKEN], 4), "request 0: the prompt holds the mask token"),
        (Request([1] * 200, 100), "request 0: 200 prompt tokens and 100 new ones exceed the model's 256 positions"),
        (Request([1], 0), "request 0: max_tokens is 0"),
    ],
)
def test_bad_requests_are_refused_before_decoding(student: Qwen3, request_: Request, message: str) -> None:
    with pytest.raises(DataError, match=message):
        decode(student, [request_], GREEDY)


def test_a_strategy_that_does_not_fit_the_model_is_refused(student: Qwen3, teacher: Qwen3) -> None:
    with pytest.raises(SettingsError, match="needs an autoregressive model"):
        decode(student, [Request([1], 4)], DecodingSettings(strategy="autoregressive"))
    with pytest.raises(SettingsError, match="needs a block-diffusion model"):
        decode(teacher, [Request([1], 4)], GREEDY)


def test_no_requests_give_no_answers(student: Qwen3) -> None:
    assert decode(student, [], GREEDY) == []

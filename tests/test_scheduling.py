"""Admission, pages and memory: whatever the lengths and the size of the cache, every request gets its answer."""

import logging
from collections import Counter, deque
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from opdlm.blocks import block_start, covered
from opdlm.config.decoding import DecodingSettings
from opdlm.decode import flight
from opdlm.decode.batch import Plan
from opdlm.decode.engine import Engine
from opdlm.decode.request import NEVER, Request, Rollout
from opdlm.decode.scheduler import Candidate, Scheduler, waiting_line
from opdlm.decode.slots import Sizes, Slots
from opdlm.decode.strategy import make_strategy
from opdlm.errors import SettingsError
from opdlm.model.qwen3 import Qwen3
from tests.conftest import END_TOKEN, MASK_TOKEN, make_model
from tests.test_engine import GREEDY, SAMPLED, decode, prompt

AUTOREGRESSIVE = DecodingSettings(strategy="autoregressive", temperature=1.0)
requests_of = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=8)


class AsOnCuda(flight.Flight):
    """What a CUDA device runs: rounds of eight steps of fixed sizes, where not all may start a block at once."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self.steps_a_round = self.scheduler.ahead = flight.STEPS_A_ROUND

    def _batch(self) -> tuple[list[int], list[Sizes]]:
        running, steps = super()._batch()
        sizes = self.batch.sizes(len(running), len(steps))
        return running + [self.plan.slots] * (self.batch.count - len(running)), sizes


POOL = [Request(prompt(1 + 11 * place % 29, place), 1 + 7 * place % 23, seed=place) for place in range(20)]


@cache
def double_model(block_size: int | None) -> Qwen3:
    """In fp64: in fp32 one draw in a million falls so near to a border that the order of a sum decides it."""
    return make_model(block_size).double()


@cache
def alone(place: int, how: DecodingSettings) -> Rollout:
    """What one of the pool is answered when nobody else is there."""
    [rollout] = decode(double_model(None if how is AUTOREGRESSIVE else 4), [POOL[place]], how)
    return rollout


@settings(max_examples=50)
@given(
    places=st.lists(st.integers(0, len(POOL) - 1), min_size=1, max_size=8),
    slots=st.integers(1, 6),
    page_size=st.sampled_from([4, 8, 16]),
    spare_pages=st.integers(0, 12),
    how=st.sampled_from(
        [GREEDY, SAMPLED, DecodingSettings(strategy="dynamic", threshold=0.4, temperature=1.0), AUTOREGRESSIVE]
    ),
    kind=st.sampled_from([flight.Flight, AsOnCuda]),
)
def test_every_request_gets_the_answer_it_gets_alone(
    places: list[int], slots: int, page_size: int, spare_pages: int, how: DecodingSettings, kind: type[flight.Flight]
) -> None:
    requests = [POOL[place] for place in places]
    room = (max(pages_of(request, page_size) for request in requests) + spare_pages) * page_size
    model = double_model(None if how is AUTOREGRESSIVE else 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("opdlm.decode.engine.Flight", kind)
        tight = Engine(model, [END_TOKEN], slots, page_size=page_size, cache_tokens=room)
        assert tight.generate(requests, how) == [alone(place, how) for place in places]


def pages_of(request: Request, page_size: int) -> int:
    """Pages that hold the whole blocks of a prompt and its longest answer."""
    return -(-covered(len(request.prompt) + request.max_tokens, 4) // page_size)


@settings(max_examples=200)
@given(
    lengths=requests_of,
    slots=st.integers(1, 6),
    page_size=st.sampled_from([4, 8, 16]),
    spare_pages=st.integers(0, 6),
    ahead=st.integers(1, 8),
    data=st.data(),
)
def test_no_page_is_used_twice_and_everybody_finishes(
    lengths: list[tuple[int, int]], slots: int, page_size: int, spare_pages: int, ahead: int, data: st.DataObject
) -> None:
    requests = [Request([1] * length, limit) for length, limit in lengths]
    pages = 1 + spare_pages + max(pages_of(request, page_size) for request in requests)
    scheduler = Scheduler(waiting_line(requests), slots, pages, page_size, 4, ahead)
    for _ in range(1000):
        if not scheduler.unfinished:
            break
        oldest = next(iter(scheduler.running.values()), None)
        stopped = scheduler.grow()
        assert oldest not in stopped
        admitted = scheduler.admit()
        if admitted and len(scheduler.running) > 1:
            growing = [
                other
                for other in scheduler.running.values()
                if other is not admitted[-1] and len(other.pages) < pages_of(other.request, page_size)
            ]
            assert len(scheduler.free_pages) >= len(growing), "nobody is taken up only to be stopped again"
        used = [page for candidate in scheduler.running.values() for page in candidate.pages]
        assert 0 not in used, "the padding page is nobody's"
        assert max(Counter([*used, *scheduler.free_pages]).values()) == 1
        assert len(used) + len(scheduler.free_pages) == pages - 1
        assert scheduler.running, "somebody is always in flight"
        for candidate in list(scheduler.running.values()):
            reach = min(candidate.start + (ahead + 1) * 4, -(-candidate.longest // 4) * 4)
            assert len(candidate.pages) * page_size >= reach
            candidate.start += 4 * data.draw(st.integers(1, ahead))
            if candidate.start + 4 > candidate.longest:
                scheduler.release(candidate)
    assert not scheduler.unfinished


@given(lengths=requests_of, page_size=st.sampled_from([4, 8, 16]), ahead=st.integers(1, 8), data=st.data())
def test_a_cache_that_holds_everybody_is_used_to_the_last_page(
    lengths: list[tuple[int, int]], page_size: int, ahead: int, data: st.DataObject
) -> None:
    requests = [Request([1] * length, limit) for length, limit in lengths]
    pages = 1 + sum(pages_of(request, page_size) for request in requests)
    scheduler = Scheduler(waiting_line(requests), len(requests), pages, page_size, 4, ahead)
    assert len(scheduler.admit()) == len(requests)
    while any(candidate.start + 4 < candidate.longest for candidate in scheduler.running.values()):
        for candidate in scheduler.running.values():
            furthest = block_start(candidate.longest - 1, 4)
            candidate.start = min(candidate.start + 4 * data.draw(st.integers(1, ahead)), furthest)
        assert scheduler.grow() == []
    assert scheduler.free_pages == []


def test_slots_are_taken_up_in_groups() -> None:
    """A sixteenth at a time, since a short prefill is an inefficient one; at the end of the line whoever is left."""
    scheduler = Scheduler(waiting_line([Request([1], 4)] * 71), 64, 65, 16, 4, 1)
    admitted = scheduler.admit()
    assert len(admitted) == 64
    taken_up = []
    for candidate in admitted[:8]:
        scheduler.release(candidate)
        taken_up.append(len(scheduler.admit()))
    assert taken_up == [0, 0, 0, 4, 0, 0, 3, 0]


def test_the_longest_answers_are_written_first() -> None:
    line = waiting_line([Request([1], 5), Request([1], 9), Request([1], 5), Request([1], 7)])
    assert [candidate.index for candidate in line] == [1, 3, 0, 2]


def test_pages_of_any_size_give_the_same_answers_as_one_piece(student: Qwen3) -> None:
    requests = [Request(prompt(3 + 4 * place, place), 6 + 5 * place, place) for place in range(6)]
    contiguous = Engine(student, [END_TOKEN], page_size=64).generate(requests, SAMPLED)
    for page_size in (4, 8, 16):
        assert Engine(student, [END_TOKEN], page_size=page_size).generate(requests, SAMPLED) == contiguous


def test_long_prompts_are_cached_piece_by_piece(student: Qwen3, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [Request(prompt(length, 1), 9, length) for length in (70, 3, 41, 90)]
    whole = decode(student, requests, SAMPLED)
    seen = []
    original = student.forward
    monkeypatch.setattr(flight, "PREFILL_TOKENS", 32)
    monkeypatch.setattr(student, "forward", lambda ids, *rest: seen.append(len(ids)) or original(ids, *rest))
    assert decode(student, requests, SAMPLED) == whole
    assert max(seen) == 32


def test_a_cache_too_small_for_one_request_is_refused(student: Qwen3) -> None:
    engine = Engine(student, [END_TOKEN], page_size=8, cache_tokens=40)
    with pytest.raises(SettingsError, match="room for 40 tokens; the longest request needs 48"):
        engine.generate([Request(prompt(20), 25)], GREEDY)
    assert engine.generate([Request(prompt(20), 20)], GREEDY) == decode(student, [Request(prompt(20), 20)], GREEDY)


class LandedError(Exception):
    """Somebody looked at the flight at the step of interest."""


def fly(engine: Engine, waiting: deque[Candidate], land_after: int | None = None) -> dict[int, Rollout]:
    """Answer those in line, or let everybody land after a number of steps; the answers that are finished."""
    plan, steps = Plan(SAMPLED, make_strategy(SAMPLED), 4, 0, 2, engine.page_size, engine.cache_tokens, False), []

    def watch(_: Slots) -> None:
        steps.append(1)
        if len(steps) == land_after:
            raise LandedError

    answers: dict[int, Rollout] = {}
    with torch.inference_mode():
        aloft = flight.Flight(engine.model, engine.model, engine.stop_ids, plan, waiting, watch)
        try:
            answers.update(aloft.run())
        except LandedError:
            aloft.land()
    return answers


def test_a_sequence_that_lands_comes_back_with_what_it_wrote(student: Qwen3) -> None:
    """At every step, in the rest of the prompt's block, in the middle of a block and between two."""
    engine, request = Engine(student, [MASK_TOKEN]), Request(prompt(6), 13, seed=5)
    [whole] = engine.generate([request], SAMPLED)
    tokens, steps = [*request.prompt, *whole.ids, *whole.tail_ids], [0] * 6 + whole.steps + whole.tail_steps
    for step in range(1, max(whole.steps)):
        waiting = waiting_line([request])
        assert fly(engine, waiting, land_after=step) == {}
        [candidate] = waiting
        draft = candidate.draft
        assert (draft.step, draft.start) == (step, 4 + (step + 2) // 4 * 4)
        known = [reveal_step <= step for reveal_step in steps[: draft.start + 4]]
        assert draft.tokens == [t if k else MASK_TOKEN for t, k in zip(tokens, known, strict=False)]
        assert draft.reveal_steps == [s if k else NEVER for s, k in zip(steps, known, strict=False)]
        assert fly(engine, waiting) == {0: whole}


def test_whoever_stops_for_another_goes_on_in_the_middle_of_its_block(student: Qwen3) -> None:
    """Both start with three of eight pages. When the first needs a fifth, the second is in its second block."""
    engine = Engine(student, [MASK_TOKEN], page_size=4, cache_tokens=32)
    requests = [Request(prompt(6), 14, seed=1), Request(prompt(5), 13, seed=2)]
    waiting = waiting_line(requests)
    [_, second] = waiting
    answers = fly(engine, waiting)
    assert (second.draft.start, second.draft.step) == (8, 6)
    assert second.draft.reveal_steps[:5] == [0] * 5
    assert sorted(second.draft.reveal_steps[5:8]) == [1, 2, 3]
    assert sorted(second.draft.reveal_steps[8:]) == [4, 5, 6, NEVER]
    assert [answers[0], answers[1]] == [Engine(student, [MASK_TOKEN]).generate([one], SAMPLED)[0] for one in requests]


def test_out_of_memory_halves_the_batch_and_loses_nothing(
    student: Qwen3, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    requests = [Request(prompt(5 + place, place), 20, place) for place in range(8)]
    expected = decode(student, requests, SAMPLED)
    forwards = []

    def forward(ids: torch.Tensor, *rest: object) -> torch.Tensor:
        forwards.append(len(ids))
        if len(forwards) in (6, 12):
            raise torch.OutOfMemoryError("no memory")
        return original(ids, *rest)

    original = student.forward
    monkeypatch.setattr(student, "forward", forward)
    with caplog.at_level(logging.WARNING):
        assert decode(student, requests, SAMPLED) == expected
    assert [record.getMessage() for record in caplog.records] == [
        "out of memory with 8 sequences in flight; going on with 4",
        "out of memory with 4 sequences in flight; going on with 2",
    ]


def test_out_of_memory_with_one_sequence_is_an_error(student: Qwen3, monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(student, "forward", forward)
    with pytest.raises(torch.OutOfMemoryError):
        decode(student, [Request(prompt(5), 4)], GREEDY, slots=1)

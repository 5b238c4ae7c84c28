"""Admission, pages and memory: whatever the lengths and the size of the cache, every request gets its answer."""

import logging
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from opdlm.config.decoding import DecodingSettings
from opdlm.decode import flight
from opdlm.decode.batch import bucket
from opdlm.decode.engine import Engine
from opdlm.decode.request import Request
from opdlm.decode.scheduler import Scheduler, waiting_line
from opdlm.decode.slots import Sizes, Slots
from opdlm.errors import SettingsError
from opdlm.model.qwen3 import Qwen3
from tests.conftest import END_TOKEN, make_model
from tests.test_engine import GREEDY, SAMPLED, decode, prompt

AUTOREGRESSIVE = DecodingSettings(strategy="autoregressive", temperature=1.0)
requests_of = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=8)


@settings(max_examples=60)
@given(
    lengths=requests_of,
    slots=st.integers(1, 6),
    page_size=st.sampled_from([4, 8, 16]),
    spare_pages=st.integers(0, 12),
    how=st.sampled_from(
        [GREEDY, SAMPLED, DecodingSettings(strategy="dynamic", threshold=0.4, temperature=1.0), AUTOREGRESSIVE]
    ),
)
def test_every_request_gets_the_answer_it_gets_alone(
    lengths: list[tuple[int, int]], slots: int, page_size: int, spare_pages: int, how: DecodingSettings
) -> None:
    # fp64: in fp32 one draw in a million falls so near to a border that the order of a sum decides it.
    model = make_model(block_size=None if how is AUTOREGRESSIVE else 4).double()
    requests = [Request(prompt(length, place), limit, place) for place, (length, limit) in enumerate(lengths)]
    smallest = max(-(-(-(-(length + limit) // 4) * 4) // page_size) for length, limit in lengths)
    engine = Engine(model, [END_TOKEN], slots, page_size=page_size, cache_tokens=(smallest + spare_pages) * page_size)
    alone = [decode(model, [request], how)[0] for request in requests]
    assert engine.generate(requests, how) == alone


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
    waiting = waiting_line([Request([1] * length, limit) for length, limit in lengths])
    pages = 1 + spare_pages + max(-(-(-(-c.longest // 4) * 4) // page_size) for c in waiting)
    scheduler = Scheduler(waiting, slots, pages, page_size, 4, ahead)
    for _ in range(1000):
        if not scheduler.unfinished:
            break
        oldest = next(iter(scheduler.running.values()), None)
        stopped = scheduler.grow()
        assert oldest not in stopped
        scheduler.admit()
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


@given(count=st.integers(1, 600))
def test_a_bucket_holds_its_count_and_wastes_less_than_a_third(count: int) -> None:
    assert count <= bucket(count) < max(count * 1.5, count + 1)


@settings(max_examples=60)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 11), st.integers(1, 14)), min_size=1, max_size=6),
    starts=st.integers(1, 6),
    padding=st.integers(0, 3),
)
def test_steps_of_fixed_size_give_the_same_answers(lengths: list[tuple[int, int]], starts: int, padding: int) -> None:
    """What a CUDA device runs: padded to a size, and only some may start a block in the same step."""
    model = make_model().double()
    requests = [Request(prompt(length, place), limit, place) for place, (length, limit) in enumerate(lengths)]
    expected = decode(model, requests, SAMPLED)

    def batch(self: flight.Flight) -> tuple[list[int], list[Sizes]]:
        running = [*sorted(self.scheduler.running), *[self.plan.slots] * padding]
        room = 4 * max(starts, 2)
        return running, [Sizes(4 * (len(running) + starts), room, starts), Sizes(4 * len(running), room, 0)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flight.Flight, "_batch", batch)
        assert decode(model, requests, SAMPLED) == expected


def test_starts_spread_evenly() -> None:
    """Sequences that begin together soon start their blocks in turn, a quarter of them in every step."""
    slots = Slots(8, 64, 4, 0, 39, torch.empty(0, dtype=torch.int64))
    candidates = list(waiting_line([Request([1] * 4, 40) for _ in range(8)]))
    for slot, candidate in enumerate(candidates):
        candidate.slot, candidate.start = slot, 4
    slots.admit(candidates)
    sizes = Sizes(tokens=40, rows=20, starts=2)
    served = []
    for _ in range(20):
        step = slots.plan(torch.arange(8), sizes)
        accepted = step.masked & (step.masked.cumsum(dim=-1) == 1)
        slots.reveal(step, torch.zeros_like(step.block), accepted)
        served.append(int(step.served.sum()))
    assert served == [2, 4, 6] + [8] * 17

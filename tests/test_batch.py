"""Sizes of the steps on a CUDA device: always room enough, few different ones, and nobody waits for long.

Sequences go through the engine's own steps with made-up tokens; only the forward pass is missing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from opdlm.blocks import block_end, block_start, covered
from opdlm.config.decoding import DecodingSettings
from opdlm.decode.batch import PATIENCE, Batch, Plan, bucket
from opdlm.decode.request import Request
from opdlm.decode.scheduler import Candidate
from opdlm.decode.slots import Sizes, Slots
from opdlm.decode.strategy import make_strategy

ROUND = 8
STATIC = DecodingSettings(strategy="static")
DYNAMIC = DecodingSettings(strategy="dynamic")


def plan_for(slots: int, how: DecodingSettings, block_size: int = 4) -> Plan:
    shift = int(how.strategy == "autoregressive")
    return Plan(how, make_strategy(how), block_size, shift, slots, page_size=16, cache_tokens=None, graphs=True)


@dataclass(frozen=True)
class Life:
    """A sequence: length of its prompt and answer, and the round in which it joins."""

    prompt: int
    answer: int
    joins: int = 0

    def candidate(self, slot: int, block_size: int) -> Candidate:
        """As the scheduler would send it to a slot."""
        start = block_start(self.prompt, block_size)
        return Candidate(slot, Request([1] * self.prompt, self.answer), None, start, slot)

    def ideal(self, block_size: int, reveals: int) -> int:
        """Steps it takes if it never waits."""
        end = self.prompt + self.answer
        borders = [self.prompt, *range(block_end(self.prompt, block_size), end, block_size), end]
        return sum(math.ceil((after - before) / reveals) for before, after in pairwise(borders))


class Simulation:
    """Takes steps until every answer is finished.

    Attributes:
        taken: steps from joining to the end of the answer, of each sequence.
        served: sequences that took part in each step.
        resizes: how often the batch got another size, the first one included.
    """

    def __init__(self, plan: Plan, lives: list[Life], accept: Callable[[Tensor], Tensor]) -> None:
        self.batch, self.accept = Batch(plan), accept
        self.taken, self.served, self.resizes = [0] * len(lives), list[int](), 0
        capacity = max(covered(life.prompt + life.answer, plan.block_size) for life in lives)
        self.slots = Slots(len(lives), capacity, plan.block_size, plan.shift, 0, torch.empty(0, dtype=torch.int64))
        for number in range(2000):
            joining = [life.candidate(slot, plan.block_size) for slot, life in enumerate(lives) if life.joins == number]
            if joining:
                self.slots.admit(joining)
            running = (~self.slots.finished).nonzero().flatten().tolist()
            if running:
                self._round(running)
            elif all(life.joins <= number for life in lives):
                return
        raise AssertionError("somebody waits for ever")

    def _round(self, running: list[int]) -> None:
        slots, count, start = self.slots, self.batch.count, self.slots.start.clone()
        step_before = slots.step.clone()
        cycle = self.batch.sizes(len(running), ROUND)
        self.resizes += self.batch.count != count
        chosen = torch.tensor(running + [slots.count] * (self.batch.count - len(running)))
        for sizes in cycle:
            starting = slots.fresh & ~slots.finished
            for slot in running:
                self.taken[slot] += not slots.finished[slot]
            step = slots.plan(chosen, sizes)
            assert int(step.tokens.tile_count.sum()) <= sizes.tokens == len(step.ids)
            assert int(step.masked.sum()) <= sizes.rows == len(step.rows)
            assert int((starting[step.slots] & step.served).sum()) <= sizes.starts
            slots.reveal(step, torch.zeros_like(step.block), self.accept(step.masked))
            self.served.append(int(step.served.sum()))
        blocks = (slots.start - start)[running] // slots.block_size + slots.finished[running]
        self.batch.learn(int((slots.step - step_before)[running].sum()), int(blocks.sum()))


def leftmost(reveals: int) -> Callable[[Tensor], Tensor]:
    return lambda masked: masked & (masked.cumsum(dim=-1) <= reveals)


@settings(max_examples=60)
@given(
    lives=st.lists(st.builds(Life, st.integers(1, 33), st.integers(1, 60), st.integers(0, 4)), min_size=1, max_size=20),
    together=st.booleans(),
    block_size=st.sampled_from([1, 2, 4, 8, 16]),
    reveals=st.integers(1, 16),
    strategy=st.sampled_from(["static", "sequential", "dynamic", "autoregressive"]),
)
def test_there_is_room_for_everybody_and_nobody_waits_long(
    lives: list[Life], together: bool, block_size: int, reveals: int, strategy: str
) -> None:
    """A sequence waits at most the time of two blocks until starts are spread, and of one more after a resize."""
    if together:
        lives = [Life(life.prompt, 40) for life in lives]
    if strategy == "autoregressive":
        block_size = reveals = 1
    # The threshold lets dynamic decoding reveal no more than static decoding does.
    how = DecodingSettings(strategy=strategy, tokens_per_step=reveals, threshold=1.0)
    simulation = Simulation(plan_for(len(lives), how, block_size), lives, leftmost(reveals))
    patience = (1 + simulation.resizes) * math.ceil(block_size / reveals)
    for life, taken in zip(lives, simulation.taken, strict=True):
        assert life.ideal(block_size, reveals) <= taken <= life.ideal(block_size, reveals) + patience


@settings(max_examples=30)
@given(
    lives=st.lists(st.builds(Life, st.integers(1, 20), st.integers(1, 30), st.integers(0, 4)), min_size=1, max_size=8),
    block_size=st.sampled_from([2, 4, 8]),
    reveals=st.integers(1, 8),
    strategy=st.sampled_from(["static", "dynamic"]),
    seed=st.integers(0, 1000),
)
def test_nobody_waits_for_ever_whatever_a_strategy_reveals(
    lives: list[Life], block_size: int, reveals: int, strategy: str, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)

    def accept(masked: Tensor) -> Tensor:
        return masked & (leftmost(1)(masked) | (torch.rand(masked.shape, generator=generator) < 0.3))

    how = DecodingSettings(strategy=strategy, tokens_per_step=reveals)
    Simulation(plan_for(len(lives), how, block_size), lives, accept)


def test_starts_spread_evenly() -> None:
    """Of sequences that begin together, half wait for half a block, once."""
    served = Simulation(plan_for(8, STATIC), [Life(4, 40)] * 8, leftmost(1)).served
    assert served[:42] == [4] * 2 + [8] * 38 + [4] * 2


def test_those_who_had_to_wait_go_first() -> None:
    """Blocks that need one step, and room for two of six to start one."""
    slots = Slots(6, 64, 4, 0, 0, torch.empty(0, dtype=torch.int64))
    slots.admit([Life(4, 40).candidate(slot, 4) for slot in range(6)])
    for number in range(1, 16):
        step = slots.plan(torch.arange(6), Sizes(tokens=64, rows=24, starts=2))
        slots.reveal(step, torch.zeros_like(step.block), step.masked)
        blocks = (slots.start[:-1] // 4 - 1).tolist()
        assert sum(blocks) == 2 * number
        assert max(blocks) - min(blocks) <= 1


@given(count=st.integers(1, 600))
def test_a_bucket_holds_its_count_and_wastes_less_than_a_third(count: int) -> None:
    assert count <= bucket(count) < max(count * 1.5, count + 1)


@pytest.mark.parametrize(
    ("how", "block_size", "most"), [(STATIC, 4, 2), (STATIC, 8, 4), (STATIC, 1, 1), (DYNAMIC, 4, 1)]
)
def test_there_are_few_sizes(how: DecodingSettings, block_size: int, most: int) -> None:
    """A graph for each; 14 batch sizes lead up to 128 sequences."""
    batch = Batch(plan_for(128, how, block_size))
    sizes = {(batch.count, size) for running in range(1, 129) for size in batch.sizes(running, ROUND)}
    assert len({count for count, _ in sizes}) == 14
    assert len(sizes) <= 14 * most


@given(running=st.lists(st.integers(1, 40), max_size=80))
def test_the_batch_grows_at_once_and_shrinks_with_patience(running: list[int]) -> None:
    batch, counts = Batch(plan_for(40, STATIC)), [0]
    needed = [min(bucket(number), 40) for number in running]
    for place, number in enumerate(running):
        batch.sizes(number, 1)
        counts.append(batch.count)
        recent, before = needed[max(0, place - PATIENCE) : place + 1], counts[max(0, place - PATIENCE) : place + 1]
        assert batch.count in (counts[-2], needed[place])
        if needed[place] > counts[-2]:
            assert batch.count == needed[place], "it grows at once"
        settled = len(recent) == PATIENCE + 1 and len(set(before)) == 1
        spare = settled and all(2 * need <= before[0] for need in recent)
        assert (batch.count < counts[-2]) == spare, "it shrinks once half of it has been spare for long enough"


def test_a_batch_that_was_needed_again_does_not_shrink() -> None:
    batch = Batch(plan_for(32, STATIC))
    counts = []
    for running in [24, *[12] * PATIENCE, 13, *[12] * (PATIENCE + 1), 24]:
        batch.sizes(running, ROUND)
        counts.append(batch.count)
    assert counts == [24] * (1 + 2 * PATIENCE + 1) + [12, 24]


@pytest.mark.parametrize("reveals", [1, 2])
def test_dynamic_decoding_learns_how_many_sequences_start_a_block_at_once(reveals: int) -> None:
    """The fewer start, the fewer tokens the steps have room for."""
    simulation = Simulation(plan_for(8, DYNAMIC), [Life(4, 400)] * 8, leftmost(reveals))
    [sizes] = set(simulation.batch.sizes(8, ROUND))
    assert sizes.starts == 2 * reveals


def test_dynamic_decoding_learns_that_sequences_are_faster_than_guessed() -> None:
    """Blocks that need one step: waiting costs a few rounds, until that is learnt."""
    simulation = Simulation(plan_for(8, DYNAMIC), [Life(4, 1600)] * 8, leftmost(4))
    assert max(simulation.taken) < 1.25 * Life(4, 1600).ideal(4, 4)

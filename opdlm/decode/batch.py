"""How a flight decodes, and the fixed sizes of its steps."""

import math
from dataclasses import dataclass

from opdlm.config.decoding import DecodingSettings
from opdlm.decode.slots import Sizes
from opdlm.decode.strategy import RemaskingStrategy

PATIENCE = 4
"""Rounds in which at most half of the batch is used before it shrinks: a new size costs about as much as that saves."""
FIRST_GUESS = 0.5
"""Blocks finished a step by a sequence that unmasks dynamically, before there is something to learn from."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a flight decodes.

    Attributes:
        decoding: temperature and filters.
        strategy: which drawn tokens are kept.
        block_size, shift: geometry; logits of an autoregressive model are shifted by one.
        slots: sequences in flight at once.
        page_size: tokens a page of the cache.
        cache_tokens: tokens in all pages together; without it, what the sequences need or the device has.
        graphs: replay steps as CUDA graphs.
    """

    decoding: DecodingSettings
    strategy: RemaskingStrategy
    block_size: int
    shift: int
    slots: int
    page_size: int
    cache_tokens: int | None
    graphs: bool


class Batch:
    """Sizes of the steps, few different ones, since each costs a graph.

    Attributes:
        count: sequences in a step, padding included.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan, self.count, self.spare_rounds, self.taken = plan, 0, 0, 0
        self.steps, self.blocks, self.next_look = 0, 0, 32 * plan.slots
        self.pace = FIRST_GUESS

    def sizes(self, running: int, steps: int) -> list[Sizes]:
        """Sizes of the next steps for `running` sequences; sets `count`."""
        needed = min(bucket(running), self.plan.slots)
        self.spare_rounds = self.spare_rounds + 1 if 2 * needed <= self.count else 0
        if needed > self.count or self.spare_rounds > PATIENCE:
            self.count, self.spare_rounds = needed, 0
        cycle = self._cycle()
        self.taken += steps
        return [cycle[step % len(cycle)] for step in range(self.taken - steps, self.taken)]

    def learn(self, steps: int, blocks: int) -> None:
        """Take note of the steps that sequences took part in during a round, and of the blocks they finished.

        Steps that a sequence waited do not count, or the room there was would look like all that is needed. The pace
        is looked at again each time the number of steps has doubled.
        """
        self.steps, self.blocks = self.steps + steps, self.blocks + blocks
        if self.steps >= self.next_look:
            self.pace, self.next_look = self.blocks / self.steps, 2 * self.steps

    def _cycle(self) -> list[Sizes]:
        """Sizes of the steps that follow each other.

        If a block takes an even number of steps, half of the sequences start a block every half of that: matrix
        products of 4 n and 6 n tokens run faster than as many of 5 n. Otherwise equally many may start in every step.
        """
        count, block, reveals = self.count, self.plan.block_size, self.plan.decoding.tokens_per_step
        if self.plan.shift:
            return [Sizes(tokens=count, rows=count, starts=count)]
        steps = math.ceil(block / reveals)
        period, pace = (steps // 2, 0.5) if steps % 2 == 0 else (1, 1 / steps)
        if self.plan.decoding.strategy == "dynamic":
            period, pace = 1, max(1 / steps, math.ceil(8 * self.pace) / 8)
        starts = min(count, math.ceil(count * pace))
        cycle = []
        for phase in range(period):
            rows, left = 0, count
            for age in range(phase, steps, period):
                rows += min(starts, left) * (block - age * reveals)
                left -= min(starts, left)
            now = starts if phase == 0 else 0
            cycle.append(Sizes(tokens=(count + now) * block, rows=rows, starts=now))
        return cycle


def bucket(count: int) -> int:
    """The next size there is a graph for: 1, 2, 3, 4, 6, 8, 12, 16, 24, ..."""
    power = 1 << (count - 1).bit_length()
    return power * 3 // 4 if power >= 4 and count <= power * 3 // 4 else power

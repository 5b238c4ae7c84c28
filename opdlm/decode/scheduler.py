"""Who decodes next, and in which pages: bookkeeping on the host, a few integers a sequence.

A sequence is admitted when there is a slot, and pages for its prompt and its next blocks. When those in flight need
pages and none is free, the one admitted last gives up its own and goes back to the head of the line with what it has
written. The one admitted first is never stopped and every request fits alone, so there is always progress.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from opdlm.blocks import block_start, covered
from opdlm.decode.cache import PADDING_PAGE
from opdlm.decode.request import Request


@dataclass(frozen=True, slots=True)
class Draft:
    """What a sequence had written when it was stopped: tokens and reveal steps by position, and its progress."""

    tokens: list[int]
    reveal_steps: list[int]
    start: int
    step: int


@dataclass(eq=False, slots=True)
class Candidate:
    """A request on its way.

    Attributes:
        index: place among the caller's requests.
        request: what to answer.
        draft: what it wrote before it was stopped, if it was.
        start, step: first position of its current block and denoising steps done, as last heard from the device.
        slot: its slot while in flight.
        pages: its pages, in order.
        safe: while its block starts no later than here, it needs no more of them.
    """

    index: int
    request: Request
    draft: Draft | None = None
    start: int = 0
    slot: int = -1
    pages: list[int] = field(default_factory=list)
    safe: int = -1
    step: int = 0

    @property
    def longest(self) -> int:
        """Tokens of prompt and longest answer."""
        return len(self.request.prompt) + self.request.max_tokens


def waiting_line(requests: Sequence[Request]) -> deque[Candidate]:
    """All requests, the longest answers first, since a batch ends with the last of them."""
    candidates = [Candidate(index, request) for index, request in enumerate(requests)]
    return deque(sorted(candidates, key=lambda candidate: -candidate.request.max_tokens))


class Scheduler:
    """Slots and pages of the sequences in flight.

    Args:
        waiting: who is to be admitted, in order; sequences that are stopped go back to its head.
        slots: sequences in flight at most.
        pages: pages of the cache, the padding page included.
        page_size: tokens a page.
        block_size: of the attention geometry.
        ahead: blocks that a sequence may finish before the host hears of it.

    Attributes:
        table: pages of each slot in order, `[slots + 1, pages of a slot]`; the last row stands for padding.
        changed: whether the table has changed since somebody last set this to false.
    """

    GROUPS = 16
    """A sixteenth of the slots is taken up at a time."""

    def __init__(
        self, waiting: deque[Candidate], slots: int, pages: int, page_size: int, block_size: int, ahead: int
    ) -> None:
        self.waiting, self.running = waiting, dict[int, Candidate]()
        self.page_size, self.block_size, self.ahead = page_size, block_size, ahead
        per_slot = max(self._pages(candidate.longest) for candidate in waiting)
        self.table = np.full((slots + 1, per_slot), PADDING_PAGE, dtype=np.int32)
        self.changed = True
        self.free_slots = list(range(slots))[::-1]
        self.free_pages = [page for page in range(pages) if page != PADDING_PAGE][::-1]

    @property
    def unfinished(self) -> bool:
        """Whether anything is in flight or waiting."""
        return bool(self.waiting or self.running)

    def grow(self) -> list[Candidate]:
        """Give those in flight the pages they may need; returns those that must stop for it, latest first."""
        stopped = []
        for candidate in [other for other in self.running.values() if other.start > other.safe]:
            while candidate.slot in self.running and not self._extend(candidate):
                stopped.append(self.running[next(reversed(self.running))])
                self.stop(stopped[-1])
        return stopped

    def admit(self) -> list[Candidate]:
        """Take up those waiting that have room, a few at a time, since a short prefill is an inefficient one."""
        admitted: list[Candidate] = []
        if len(self.free_slots) < min(len(self.waiting), max(1, len(self.table) // self.GROUPS)):
            return admitted
        while self.waiting and self.free_slots:
            candidate = self.waiting[0]
            prompt = block_start(len(candidate.request.prompt), self.block_size)
            draft = candidate.draft
            candidate.start, candidate.step = (draft.start, draft.step) if draft else (prompt, 0)
            # A page for each of those that will need more, so that nobody is taken up only to be stopped again.
            growing = sum(len(other.pages) < self._pages(other.longest) for other in self.running.values())
            if self.running and len(self.free_pages) - self._needed(candidate) < growing:
                break
            self.waiting.popleft()
            candidate.slot = self.free_slots.pop()
            self.running[candidate.slot] = candidate
            self._extend(candidate)
            admitted.append(candidate)
        return admitted

    def stop(self, candidate: Candidate) -> None:
        """Send a sequence back to the head of the line."""
        self.release(candidate)
        self.waiting.appendleft(candidate)

    def release(self, candidate: Candidate) -> None:
        """Free the slot and the pages of a sequence."""
        del self.running[candidate.slot]
        self.free_slots.append(candidate.slot)
        self.free_pages += candidate.pages[::-1]
        candidate.pages, candidate.safe = [], -1

    def _extend(self, candidate: Candidate) -> bool:
        """Give a sequence the pages it may need; false if there are too few."""
        needed = self._needed(candidate)
        if needed > len(self.free_pages):
            return False
        if needed > 0:
            candidate.pages += [self.free_pages.pop() for _ in range(needed)]
            self.table[candidate.slot, : len(candidate.pages)] = candidate.pages
            self.changed = True
        held = len(candidate.pages) * self.page_size
        candidate.safe = held - (self.ahead + 1) * self.block_size if held < candidate.longest else candidate.longest
        return True

    def _needed(self, candidate: Candidate) -> int:
        reach = candidate.start + (self.ahead + 1) * self.block_size
        return self._pages(min(reach, candidate.longest)) - len(candidate.pages)

    def _pages(self, tokens: int) -> int:
        return -(-covered(tokens, self.block_size) // self.page_size)

"""The sequences in flight: memory, admission, prefill, steps, and the answers that come out.

A flight holds all that decoding needs beside the weights. It is made when decoding begins and dropped when it ends, so
that the trainer has the memory in between.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from opdlm.blocks import covered
from opdlm.decode.batch import Batch, Plan
from opdlm.decode.cache import Cache, Tokens, cached_attention, page_bytes
from opdlm.decode.graphs import EagerSteps, GraphSteps
from opdlm.decode.request import Request, Rollout
from opdlm.decode.sampling import draw_tokens
from opdlm.decode.scheduler import Candidate, Draft, Scheduler
from opdlm.decode.slots import Report, Sizes, Slots
from opdlm.errors import SettingsError
from opdlm.model.qwen3 import Attend, Qwen3

PREFILL_TOKENS = 8192
"""Prompt tokens forwarded at once."""
TILE = 32
"""Prompt tokens that share a tile of attention."""
STEPS_A_ROUND = 8
"""Steps on a CUDA device between two looks at its state."""
MEMORY_SHARE = 0.85
"""Part of a CUDA device's free memory that the cache may take; the rest is for activations and logits."""

Forward = Callable[[Tensor, Tensor, Attend], Tensor]


class Flight:
    """Decodes those who wait in a line.

    Args:
        model, forward: the weights, and the forward pass over them.
        stop_ids: tokens that end an answer, `[ids]`.
        plan: how to decode.
        waiting: who is to be answered; those stopped come back to it.
        watch: shown the sequences in flight after every step.

    Raises:
        SettingsError: the cache has no room for the longest request.
    """

    def __init__(
        self,
        model: Qwen3,
        forward: Forward,
        stop_ids: Tensor,
        plan: Plan,
        waiting: deque[Candidate],
        watch: Callable[[Slots], None] | None,
    ) -> None:
        self.model, self.forward, self.plan, self.watch = model, forward, plan, watch
        device, block_size = model.device, plan.block_size
        longest = [covered(candidate.longest, block_size) for candidate in waiting]
        self.steps_a_round = STEPS_A_ROUND if device.type == "cuda" and watch is None else 1
        mask = model.shape.mask_token_id
        filler = 0 if mask is None else mask
        self.slots = Slots(plan.slots, max(longest), block_size, plan.shift, filler, stop_ids)

        pages = self._pages(longest)
        self.scheduler = Scheduler(waiting, plan.slots, pages, plan.page_size, block_size, self.steps_a_round)
        table = torch.from_numpy(self.scheduler.table).to(device, copy=True)
        self.cache = Cache(model.shape, pages, plan.page_size, table, model.lm_head.weight.dtype)
        self.steps = (GraphSteps if plan.graphs else EagerSteps)(device)
        self.batch = Batch(plan)

    def _pages(self, longest: Sequence[int]) -> int:
        """Pages of the cache, the padding page included."""
        plan, device, dtype = self.plan, self.model.device, self.model.lm_head.weight.dtype
        each = sorted((-(-tokens // plan.page_size) for tokens in longest), reverse=True)
        needed = sum(each[: plan.slots])
        if plan.cache_tokens is not None:
            room = plan.cache_tokens // plan.page_size
        elif device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
            room = int(free * MEMORY_SHARE) // page_bytes(self.model.shape, plan.page_size, dtype)
        else:
            room = needed
        if room < each[0]:
            raise SettingsError(
                f"the cache has room for {room * plan.page_size} tokens; the longest request needs "
                f"{each[0] * plan.page_size}. Lower max_tokens or free memory on the device"
            )
        return min(needed, room) + 1

    def run(self) -> Iterator[tuple[int, Rollout]]:
        """Yield (index, answer) until nobody is in flight or waiting."""
        while self.scheduler.unfinished:
            self._stop(self.scheduler.grow)
            admitted = self.scheduler.admit()
            if self.scheduler.changed:
                self.cache.table.copy_(torch.from_numpy(self.scheduler.table))
                self.scheduler.changed = False
            if admitted:
                self.slots.admit(admitted)
                self._prefill(admitted)
            slots, sizes = self._batch()
            self.steps.run(self._step, slots, sizes)
            if self.watch is not None:
                self.watch(self.slots)
            yield from self._collect()

    def land(self) -> None:
        """Send everybody in flight back to the line, with what they have written."""

        def everybody() -> list[Candidate]:
            stopped = list(self.scheduler.running.values())[::-1]
            for candidate in stopped:
                self.scheduler.stop(candidate)
            return stopped

        self._stop(everybody)

    # One round

    def _stop(self, choose: Callable[[], list[Candidate]]) -> None:
        """Keep what those chosen have written, as they lose slot and pages."""
        stopped = choose()
        if not stopped:
            return
        slots = [candidate.slot for candidate in stopped]
        tokens, steps = self.slots.read(slots)
        report = self.slots.report()
        for candidate, ids, reveal_steps in zip(stopped, tokens, steps, strict=True):
            start = report.start[candidate.slot]
            reach = max(start + self.plan.block_size, len(candidate.request.prompt))
            candidate.draft = Draft(ids[:reach], reveal_steps[:reach], start, report.step[candidate.slot])
        self.slots.release(slots)

    def _prefill(self, admitted: Sequence[Candidate]) -> None:
        """Cache the whole blocks of new prompts, some thousand tokens a forward.

        An autoregressive prompt keeps its last token for the first step.
        """
        room = PREFILL_TOKENS // self.plan.block_size * self.plan.block_size
        pieces: list[tuple[int, int, int]] = []
        free = room
        for candidate in admitted:
            begin, end = 0, candidate.start - self.plan.shift
            while begin < end:
                length = min(end - begin, free)
                pieces.append((candidate.slot, begin, begin + length))
                begin, free = begin + length, free - length
                if free == 0:
                    self._forward_prompts(pieces)
                    pieces, free = [], room
        if pieces:
            self._forward_prompts(pieces)

    def _forward_prompts(self, pieces: Sequence[tuple[int, int, int]]) -> None:
        """Forward pieces `(slot, begin, end)` of prompts for their keys and values."""
        device = self.model.device
        tiles = torch.tensor(
            [(slot, first, min(TILE, end - first)) for slot, begin, end in pieces for first in range(begin, end, TILE)]
        )
        slots, position, count = tiles.T.contiguous().unbind()
        first = count.cumsum(dim=0) - count
        places = torch.arange(int(count.sum()))
        owner = torch.arange(len(tiles)).repeat_interleave(count)
        token_slots, positions = slots[owner], position[owner] + places - first[owner]
        tokens = Tokens(token_slots, positions, slots, first, count, position, TILE, whole=False).to(device)
        attend = cached_attention(self.cache, tokens, self.plan.block_size)
        self.forward(self.slots.tokens[tokens.slots, tokens.positions], tokens.positions, attend)

    def _batch(self) -> tuple[list[int], list[Sizes] | list[None]]:
        """The slots of a round and, on a CUDA device, the sizes of its steps; the slots are then filled up to one."""
        running = sorted(self.scheduler.running)
        left = max(candidate.longest - candidate.start for candidate in self.scheduler.running.values())
        steps = min(self.steps_a_round, left)
        if self.model.device.type != "cuda":
            return running, [None] * steps
        sizes = self.batch.sizes(len(running), steps)
        return running + [self.plan.slots] * (self.batch.count - len(running)), sizes

    def _step(self, slots: Tensor, sizes: Sizes | None) -> None:
        """One forward over all sequences in flight, and the tokens it reveals."""
        step = self.slots.plan(slots, sizes)
        attend = cached_attention(self.cache, step.tokens, self.plan.block_size)
        hidden = self.forward(step.ids, step.tokens.positions, attend)
        logits = self.model.logits(hidden[step.rows])
        drawn, certainty = draw_tokens(logits, self.plan.decoding, step.draws, self.model.shape.mask_token_id)
        size = step.masked.numel() + 1
        tokens = drawn.new_zeros(size).scatter(0, step.sources, drawn)[:-1].view_as(step.masked)
        confidence = certainty.new_zeros(size).scatter(0, step.sources, certainty)[:-1].view_as(step.masked)
        accepted = self.plan.strategy.accept(confidence, step.masked)
        self.slots.reveal(step, tokens, accepted)

    def _collect(self) -> Iterator[tuple[int, Rollout]]:
        """Hear how far everybody is, and yield the answers that are finished."""
        report = self.slots.report()
        done, blocks, steps_taken = [], 0, 0
        for slot, candidate in self.scheduler.running.items():
            steps_taken += report.step[slot] - candidate.step
            blocks += (report.start[slot] - candidate.start) // self.plan.block_size + report.finished[slot]
            candidate.start, candidate.step = report.start[slot], report.step[slot]
            if report.finished[slot]:
                done.append(candidate)
        self.batch.learn(steps_taken, blocks)
        if not done:
            return
        slots = [candidate.slot for candidate in done]
        tokens, steps = self.slots.read(slots)
        for candidate, slot, ids, reveal_steps in zip(done, slots, tokens, steps, strict=True):
            self.scheduler.release(candidate)
            answer = finish(candidate.request, report, slot, ids, reveal_steps, self.plan.block_size)
            yield candidate.index, answer


def finish(
    request: Request, report: Report, slot: int, tokens: list[int], steps: list[int], block_size: int
) -> Rollout:
    """The answer in a slot whose tokens and reveal steps are `tokens` and `steps`."""
    prompt, end, last = len(request.prompt), report.end[slot], report.start[slot] + block_size
    return Rollout(
        prompt=request.prompt,
        ids=tokens[prompt:end],
        steps=steps[prompt:end],
        tail_ids=tokens[end:last],
        tail_steps=steps[end:last],
        finish="stop" if report.stopped[slot] else "length",
    )

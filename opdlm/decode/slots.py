"""The state of every sequence in flight, one slot each, kept on the model's device."""

from collections.abc import Iterator

import torch
from torch import Tensor

from opdlm.blocks import block_start
from opdlm.decode.request import NEVER, Request, Rollout


class Slots:
    """Tokens, reveal steps and progress of `count` sequences.

    Attributes:
        tokens: `[slots, capacity]`; `filler` at positions that are not revealed.
        reveal_step: `[slots, capacity]`, 0 for the prompt, `NEVER` where masked.
        start: first position of the current block, `[slots]`.
        cached: number of tokens whose clean keys and values are cached, `[slots]`.
        step: denoising steps done so far, `[slots]`.
    """

    def __init__(self, count: int, capacity: int, block_size: int, filler: int, device: torch.device) -> None:
        self.count, self.block_size, self.filler = count, block_size, filler
        self.tokens = torch.full((count, capacity), filler, device=device)
        self.reveal_step = torch.full((count, capacity), NEVER, device=device)
        self.prompt_length, self.limit, self.start, self.cached, self.step, self.seed = (
            torch.zeros(count, dtype=torch.int64, device=device) for _ in range(6)
        )
        self.occupied: dict[int, tuple[int, Request]] = {}
        self.free = list(range(count))[::-1]

    def admit(self, index: int, request: Request) -> int:
        """Put a request into a free slot; returns the slot."""
        slot = self.free.pop()
        prompt = len(request.prompt)
        self.occupied[slot] = (index, request)
        self.tokens[slot] = self.filler
        self.reveal_step[slot] = NEVER
        self.tokens[slot, :prompt] = torch.tensor(request.prompt, device=self.tokens.device)
        self.reveal_step[slot, :prompt] = 0
        self.prompt_length[slot] = prompt
        self.limit[slot] = prompt + request.max_tokens
        self.start[slot] = block_start(prompt, self.block_size)
        self.cached[slot] = self.step[slot] = 0
        self.seed[slot] = request.seed
        return slot

    def active(self) -> Tensor:
        """Occupied slots, `[sequences]`."""
        return torch.tensor(sorted(self.occupied), device=self.tokens.device)

    def masked(self, slots: Tensor, block: Tensor) -> Tensor:
        """Which of the positions `block [sequences, block]` are still masked."""
        return self.reveal_step[slots[:, None], block] == NEVER

    def reveal(self, slots: Tensor, block: Tensor, tokens: Tensor, accepted: Tensor, step: Tensor) -> None:
        """Write the accepted tokens with their reveal step, and count the step."""
        rows = slots[:, None].expand_as(block)[accepted]
        self.tokens[rows, block[accepted]] = tokens[accepted]
        self.reveal_step[rows, block[accepted]] = step[:, None].expand_as(block)[accepted]
        self.step[slots] = step

    def collect(self, stop_ids: Tensor) -> Iterator[tuple[int, Rollout]]:
        """Move on where a block is done, and yield the answers that are finished.

        A block is done when every position that can still be part of the answer is revealed: those before the first
        end token and before the limit. An answer is finished when its end lies in a done block.
        """
        active = self.active()
        block = self.start[active][:, None] + torch.arange(self.block_size, device=active.device)
        masked = self.masked(active, block)
        ends = torch.isin(self.tokens[active[:, None], block], stop_ids) & ~masked
        ends &= block >= self.prompt_length[active][:, None]
        first_end = torch.where(ends, block, NEVER).amin(dim=-1) + 1
        end = torch.minimum(first_end, self.limit[active])
        done = ~(masked & (block < end[:, None])).any(dim=-1)
        finished = done & (end <= block[:, -1] + 1)
        self.start[active] += self.block_size * (done & ~finished)
        stopped = first_end <= self.limit[active]
        for slot, cut, at_end in torch.stack([active, end, stopped], dim=-1)[finished].tolist():
            yield self._finish(slot, cut, bool(at_end))

    def _finish(self, slot: int, end: int, stopped: bool) -> tuple[int, Rollout]:
        index, request = self.occupied.pop(slot)
        self.free.append(slot)
        prompt, last = len(request.prompt), int(self.start[slot]) + self.block_size
        tokens, steps = self.tokens[slot, prompt:last].tolist(), self.reveal_step[slot, prompt:last].tolist()
        cut = end - prompt
        return index, Rollout(
            prompt=request.prompt,
            ids=tokens[:cut],
            steps=steps[:cut],
            tail_ids=tokens[cut:],
            tail_steps=steps[cut:],
            finish="stop" if stopped else "length",
        )

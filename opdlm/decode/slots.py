"""The state of every sequence in flight, on the model's device, and what a denoising step does to it.

Everything here is tensor code without a look at the values, so that a whole step can be captured in a CUDA graph; the
host reads `report` every few steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from opdlm.decode.cache import Tokens
from opdlm.decode.request import NEVER
from opdlm.decode.sampling import Draws
from opdlm.decode.scheduler import Candidate, Draft


@dataclass(frozen=True, slots=True)
class Sizes:
    """Fixed sizes of a step.

    Attributes:
        tokens: tokens forwarded, padding included.
        rows: masked positions whose logits are computed, padding included.
        starts: sequences that may start a block in the same step. Starting costs twice the tokens, as the block before
            is committed along; the others wait a step, and soon as many start in every step.
    """

    tokens: int
    rows: int
    starts: int


@dataclass(frozen=True, slots=True)
class Step:
    """What one denoising step forwards, for `n` sequences in the order of their turn.

    Attributes:
        slots: `[n]`.
        block: positions of their current blocks, `[n, block]`.
        masked: masked positions of the sequences served in this step, `[n, block]`.
        served: who takes part, `[n]`; the others wait for room.
        number: the step's number for each sequence, from 1, `[n]`.
        tokens, ids: the tokens forwarded.
        sources: the masked positions, as places in the flat `[n * block]`, `[rows]`; `n * block` is padding.
        rows: their hidden states' places among the tokens, `[rows]`.
        draws: seed, position and step number of each, `[rows]`.
    """

    slots: Tensor
    block: Tensor
    masked: Tensor
    served: Tensor
    number: Tensor
    tokens: Tokens
    ids: Tensor
    sources: Tensor
    rows: Tensor
    draws: Draws


@dataclass(frozen=True, slots=True)
class Report:
    """Progress of every slot as the host reads it, each `[slots]`.

    Attributes:
        finished, stopped: whether the answer is finished, and whether by an end token.
        start: first position of the current block.
        end: one past the answer's last position, once finished.
        step: denoising steps done.
    """

    finished: list[int]
    stopped: list[int]
    start: list[int]
    end: list[int]
    step: list[int]


class Slots:
    """Tokens, reveal steps and progress of `count` sequences; a last row, always finished, stands for padding.

    Attributes:
        tokens: `[slots, capacity]`; `filler` at positions that are not revealed.
        reveal_step: `[slots, capacity]`, 0 for the prompt, `NEVER` where masked.
        start: first position of the current block, `[slots]`.
        cached: number of tokens whose clean keys and values are cached, `[slots]`.
        step: denoising steps done so far, `[slots]`.
        fresh: whether the current block has not been forwarded yet, `[slots]`.
        turn: whose turn it is to start a block first.
        fast: whether kernels keep the books; they take blocks of a power of two.
    """

    def __init__(self, count: int, capacity: int, block_size: int, shift: int, filler: int, stop_ids: Tensor) -> None:
        device = stop_ids.device
        self.count, self.block_size, self.shift, self.filler, self.stop_ids = count, block_size, shift, filler, stop_ids
        self.tokens = torch.full((count + 1, capacity), filler, device=device)
        self.reveal_step = torch.full((count + 1, capacity), NEVER, device=device)
        self.prompt_length, self.limit, self.start, self.cached, self.step, self.seed, self.end = (
            torch.zeros(count + 1, dtype=torch.int64, device=device) for _ in range(7)
        )
        self.finished = torch.ones(count + 1, dtype=torch.bool, device=device)
        self.fresh, self.stopped = torch.zeros_like(self.finished), torch.zeros_like(self.finished)
        self.turn = torch.zeros((), dtype=torch.int64, device=device)
        self.offset = torch.arange(block_size, device=device)
        self.fast = device.type == "cuda" and block_size & (block_size - 1) == 0

    def admit(self, candidates: Sequence[Candidate]) -> None:
        """Write the states of new or resumed sequences into their slots."""
        device = self.tokens.device
        slots = torch.tensor([candidate.slot for candidate in candidates], device=device)
        drafts = [candidate.draft or first_draft(candidate) for candidate in candidates]
        width = max(len(draft.tokens) for draft in drafts)
        tokens = [draft.tokens + [self.filler] * (width - len(draft.tokens)) for draft in drafts]
        steps = [draft.reveal_steps + [NEVER] * (width - len(draft.tokens)) for draft in drafts]
        self.tokens[slots], self.reveal_step[slots] = self.filler, NEVER
        self.tokens[slots, :width] = torch.tensor(tokens, device=device)
        self.reveal_step[slots, :width] = torch.tensor(steps, device=device)
        progress = torch.tensor(
            [
                (len(candidate.request.prompt), candidate.longest, draft.start, draft.step, candidate.request.seed)
                for candidate, draft in zip(candidates, drafts, strict=True)
            ],
            device=device,
        )
        self.prompt_length[slots], self.limit[slots], self.start[slots], self.step[slots], self.seed[slots] = progress.T
        self.cached[slots] = (self.start[slots] - self.shift).clamp(min=0)
        self.finished[slots], self.fresh[slots] = False, True

    def plan(self, slots: Tensor, sizes: Sizes | None) -> Step:
        """Lay out the next denoising step.

        For every sequence the tokens are those whose clean keys and values are not cached yet (the block just
        finished, if any) and the current block; an autoregressive one forwards the token before the position to fill.

        Args:
            slots: `[n]`.
            sizes: fixed sizes; without them everybody takes part and nothing is padded, which needs a look at the
                values.
        """
        if sizes is not None and self.fast:
            from opdlm.decode.kernels import steps

            return steps.plan(self, slots, sizes)
        n, b = len(slots), self.block_size
        slots = slots[(torch.arange(n, device=slots.device) + self.turn) % n]
        start, cached = self.start[slots], self.cached[slots]
        block = start[:, None] + self.offset
        masked = (self.reveal_step[slots[:, None], block] == NEVER) & ~self.finished[slots, None]
        served = ~self.finished[slots]
        if sizes is not None:
            served = self._served(slots, masked.sum(dim=-1), sizes)
        masked = masked & served[:, None]
        number = self.step[slots] + 1

        count = torch.where(served, start + b - self.shift - cached, 0)
        last = count.cumsum(dim=0)
        first = last - count
        places = torch.arange(int(last[-1]) if sizes is None else sizes.tokens, device=slots.device)
        owner = torch.searchsorted(last, places, right=True)
        real = owner < n
        owner = owner.clamp(max=n - 1)
        token_slots = torch.where(real, slots[owner], self.count)
        positions = torch.where(real, cached[owner] + places - first[owner], 0)
        tokens = Tokens(token_slots, positions, slots, first, count, cached, self.queries(sizes), whole=True)

        counted = masked.flatten().cumsum(dim=0)
        rows = torch.arange(int(counted[-1]) if sizes is None else sizes.rows, device=slots.device)
        sources = torch.searchsorted(counted, rows, right=True)
        inside = sources.clamp(max=n * b - 1)
        at = (last[:, None] - b + self.offset).flatten()[inside].clamp(min=0)
        who = inside // b
        draws = Draws(self.seed[slots][who], block.flatten()[inside], number[who])
        ids = self.tokens[token_slots, positions]
        return Step(slots, block, masked, served, number, tokens, ids, sources, at, draws)

    def queries(self, sizes: Sizes | None) -> int:
        """Most tokens of a sequence in a step: where none starts a block, none is committed along."""
        commits = not self.shift and (sizes is None or sizes.starts > 0)
        return (1 + commits) * self.block_size

    def _served(self, slots: Tensor, hidden: Tensor, sizes: Sizes) -> Tensor:
        """Who takes part: all in the middle of a block, then those that start one, in turn, while there is room.

        Args:
            slots: `[n]`.
            hidden: number of masked positions of each, `[n]`, 0 for finished ones.
            sizes: the room there is.
        """
        live, fresh = ~self.finished[slots], self.fresh[slots]
        starting, going = live & fresh, live & ~fresh
        going_rows = (hidden * going).cumsum(dim=0)
        rows = torch.where(starting, going_rows[-1] + (hidden * starting).cumsum(dim=0), going_rows)
        served = live & (rows <= sizes.rows) & (going | (starting.cumsum(dim=0) <= sizes.starts))
        # The first that has to wait is the first in the next step; argmax of all zeros is 0.
        self.turn += (live & ~served).int().argmax()
        return served

    def reveal(self, step: Step, tokens: Tensor, accepted: Tensor) -> None:
        """Write the accepted tokens `[n, block]` with their reveal step, and move on where a block is done.

        A block is done when every position that can still be part of the answer is revealed: those before the first
        end token and before the limit. An answer is finished when its end lies in a done block.
        """
        if self.fast:
            from opdlm.decode.kernels import steps

            steps.reveal(self, step, tokens, accepted)
            return
        slots, block, served = step.slots, step.block, step.served
        at = slots[:, None], block
        tokens = torch.where(accepted, tokens, self.tokens[at])
        reveal_step = torch.where(accepted, step.number[:, None], self.reveal_step[at])
        self.tokens[at], self.reveal_step[at] = tokens, reveal_step
        self.step[slots] = torch.where(served, step.number, step.number - 1)
        start = block[:, 0]
        self.cached[slots] = torch.where(served, start, self.cached[slots])

        masked = reveal_step == NEVER
        ends = (tokens[..., None] == self.stop_ids).any(dim=-1) & ~masked
        ends &= block >= self.prompt_length[slots, None]
        first_end = torch.where(ends, block, NEVER).amin(dim=-1) + 1
        end = torch.minimum(first_end, self.limit[slots])
        done = served & ~(masked & (block < end[:, None])).any(dim=-1)
        finished = done & (end <= start + self.block_size)
        self.start[slots] = start + self.block_size * (done & ~finished)
        self.fresh[slots] = (self.fresh[slots] & ~served) | done
        self.end[slots] = end
        self.stopped[slots] = first_end <= self.limit[slots]
        self.finished[slots] |= finished

    def report(self) -> Report:
        """Progress of every slot; waits for the device."""
        return Report(*torch.stack([self.finished, self.stopped, self.start, self.end, self.step]).tolist())

    def read(self, slots: Sequence[int]) -> tuple[list[list[int]], list[list[int]]]:
        """Tokens and reveal steps of some slots, over their whole capacity."""
        chosen = torch.tensor(slots, device=self.tokens.device)
        tokens, steps = torch.stack([self.tokens[chosen], self.reveal_step[chosen]]).tolist()
        return tokens, steps

    def release(self, slots: Sequence[int]) -> None:
        """Let these slots rest."""
        self.finished[torch.tensor(slots, device=self.tokens.device)] = True


def first_draft(candidate: Candidate) -> Draft:
    """The state of a sequence that has not written anything."""
    prompt = candidate.request.prompt
    return Draft(prompt, [0] * len(prompt), candidate.start, step=0)

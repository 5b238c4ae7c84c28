"""Bookkeeping of a denoising step in two kernels instead of some hundred small ones.

`plan` and `reveal` do what the methods of `opdlm.decode.slots.Slots` do; a test holds them together.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from opdlm.decode.cache import Tokens
from opdlm.decode.request import NEVER
from opdlm.decode.sampling import Draws
from opdlm.decode.slots import Sizes, Slots, Step

HIDDEN = tl.constexpr(NEVER)


@triton.jit(do_not_specialize=["n", "token_room", "row_room", "start_room", "capacity", "spare"])
def _plan(
    chosen, turn, tokens, reveal_step, start, cached, step, seed, finished, fresh,
    slots, served, masked, number, first, count, position,
    token_slots, token_positions, ids, sources, rows, seeds, positions, steps,
    n, token_room, row_room, start_room, capacity, spare, shift,
    N: tl.constexpr, B: tl.constexpr, PADDING: tl.constexpr,
):  # fmt: skip
    """The whole plan in one program: it takes a few microseconds, and its sums run over all sequences."""
    lane = tl.arange(0, N)
    real = lane < n
    first_turn = tl.load(turn)
    slot = tl.load(chosen + (lane + first_turn) % n, mask=real, other=spare)
    begin = tl.load(start + slot)
    done_until = tl.load(cached + slot)
    is_fresh = tl.load(fresh + slot).to(tl.int1)
    live = real & ~tl.load(finished + slot).to(tl.int1)
    offset = tl.arange(0, B)[None, :]
    place = begin[:, None] + offset
    hidden = (tl.load(reveal_step + slot[:, None] * capacity + place) == HIDDEN) & live[:, None]

    # Who takes part: those in the middle of a block, then those that start one, while there is room.
    much = tl.sum(hidden.to(tl.int32), 1)
    going, starting = live & ~is_fresh, live & is_fresh
    going_rows = tl.cumsum(tl.where(going, much, 0), 0)
    starting_rows = tl.sum(tl.where(going, much, 0), 0) + tl.cumsum(tl.where(starting, much, 0), 0)
    in_turn = tl.cumsum(starting.to(tl.int32), 0)
    is_served = (going & (going_rows <= row_room)) | (starting & (starting_rows <= row_room) & (in_turn <= start_room))
    left_out = tl.min(tl.where(live & ~is_served, lane, N), 0)
    tl.store(turn, first_turn + tl.where(left_out == N, 0, left_out))

    hidden = hidden & is_served[:, None]
    tl.store(slots + lane, slot, mask=real)
    tl.store(served + lane, is_served, mask=real)
    tl.store(masked + lane[:, None] * B + offset, hidden, mask=real[:, None])
    this = tl.load(step + slot) + 1
    tl.store(number + lane, this, mask=real)

    # The tokens forwarded.
    needed = tl.where(is_served, begin + B - shift - done_until, 0)
    last = tl.cumsum(needed, 0)
    begins = last - needed
    tl.store(first + lane, begins, mask=real)
    tl.store(count + lane, needed, mask=real)
    tl.store(position + lane, done_until, mask=real)
    both = tl.arange(0, 2 * B)[None, :]
    at, inside = begins[:, None] + both, both < needed[:, None]
    tl.store(token_slots + at, slot[:, None] + both * 0, mask=inside)
    tl.store(token_positions + at, done_until[:, None] + both, mask=inside)
    known = tl.load(tokens + slot[:, None] * capacity + done_until[:, None] + both, mask=inside, other=0)
    tl.store(ids + at, known, mask=inside)
    nothing = tl.zeros([PADDING], tl.int64)
    filler = nothing + tl.load(tokens + spare * capacity)
    for chunk in range(tl.sum(needed, 0), token_room, PADDING):
        padding = chunk + tl.arange(0, PADDING)
        tl.store(token_slots + padding, nothing + spare, mask=padding < token_room)
        tl.store(token_positions + padding, nothing, mask=padding < token_room)
        tl.store(ids + padding, filler, mask=padding < token_room)

    # The masked positions among them.
    here = hidden.to(tl.int32)
    much = tl.sum(here, 1)
    row = (tl.cumsum(much, 0) - much)[:, None] + tl.cumsum(here, 1) - here
    tl.store(sources + row, (lane[:, None] * B + offset).to(tl.int64), mask=hidden)
    tl.store(rows + row, last[:, None] - B + offset, mask=hidden)
    tl.store(seeds + row, tl.load(seed + slot)[:, None] + offset * 0, mask=hidden)
    tl.store(positions + row, place, mask=hidden)
    tl.store(steps + row, this[:, None] + offset * 0, mask=hidden)
    for chunk in range(tl.sum(much, 0), row_room, PADDING):
        padding = chunk + tl.arange(0, PADDING)
        beyond = padding < row_room
        tl.store(sources + padding, nothing + n * B, mask=beyond)
        tl.store(rows + padding, nothing, mask=beyond)
        tl.store(seeds + padding, nothing, mask=beyond)
        tl.store(positions + padding, nothing, mask=beyond)
        tl.store(steps + padding, nothing, mask=beyond)


def plan(state: Slots, chosen: Tensor, sizes: Sizes) -> Step:
    """As `Slots.plan` with fixed sizes."""
    n, b, device = len(chosen), state.block_size, chosen.device

    def empty(*size: int, dtype: torch.dtype = torch.int64) -> Tensor:
        return torch.empty(size, dtype=dtype, device=device)

    slots, number, first, count, position = empty(5, n).unbind()
    served, masked = empty(n, dtype=torch.bool), empty(n, b, dtype=torch.bool)
    token_slots, token_positions, ids = empty(3, sizes.tokens).unbind()
    sources, rows, seeds, positions, steps = empty(5, sizes.rows).unbind()
    _plan[(1,)](
        chosen, state.turn, state.tokens, state.reveal_step, state.start, state.cached, state.step, state.seed,
        state.finished, state.fresh, slots, served, masked, number, first, count, position,
        token_slots, token_positions, ids, sources, rows, seeds, positions, steps,
        n, sizes.tokens, sizes.rows, sizes.starts, state.tokens.stride(0), state.count, state.shift,
        max(128, triton.next_power_of_2(n)), b, 256, num_warps=8,
    )  # fmt: skip
    tokens = Tokens(token_slots, token_positions, slots, first, count, position, state.queries(sizes), whole=True)
    block = state.start[slots, None] + state.offset
    draws = Draws(seeds, positions, steps)
    return Step(slots, block, masked, served, number, tokens, ids, sources, rows, draws)


@triton.jit(do_not_specialize=["capacity", "stops"])
def _reveal(
    slots, served, number, drawn, accepted, stop_ids,
    tokens, reveal_step, start, cached, step, fresh, end, stopped, finished, prompt_length, limit,
    capacity, stops, B: tl.constexpr,
):  # fmt: skip
    """One sequence."""
    lane = tl.program_id(0)
    if not tl.load(served + lane).to(tl.int1):
        return
    slot, this = tl.load(slots + lane), tl.load(number + lane)
    begin = tl.load(start + slot)
    offset = tl.arange(0, B)
    place = begin + offset
    at = slot * capacity + place
    kept = tl.load(accepted + lane * B + offset).to(tl.int1)
    token = tl.where(kept, tl.load(drawn + lane * B + offset), tl.load(tokens + at))
    revealed = tl.where(kept, this, tl.load(reveal_step + at))
    tl.store(tokens + at, token)
    tl.store(reveal_step + at, revealed)
    tl.store(step + slot, this)
    tl.store(cached + slot, begin)

    masked = revealed == HIDDEN
    is_stop = tl.zeros([B], tl.int1)
    for index in range(stops):
        is_stop = is_stop | (token == tl.load(stop_ids + index))
    ends = is_stop & ~masked & (place >= tl.load(prompt_length + slot))
    first_end = tl.min(tl.where(ends, place, HIDDEN), 0) + 1
    longest = tl.load(limit + slot)
    cut = tl.minimum(first_end, longest)
    open_places = tl.sum((masked & (place < cut)).to(tl.int32), 0)
    done = open_places == 0
    over = done & (cut <= begin + B)
    tl.store(start + slot, begin + tl.where(done & ~over, B, 0))
    tl.store(fresh + slot, done)
    tl.store(end + slot, cut)
    tl.store(stopped + slot, first_end <= longest)
    tl.store(finished + slot, over)


def reveal(state: Slots, step: Step, drawn: Tensor, accepted: Tensor) -> None:
    """As `Slots.reveal`."""
    _reveal[(len(step.slots),)](
        step.slots, step.served, step.number, drawn, accepted, state.stop_ids,
        state.tokens, state.reveal_step, state.start, state.cached, state.step, state.fresh, state.end, state.stopped,
        state.finished, state.prompt_length, state.limit, state.tokens.stride(0), len(state.stop_ids),
        state.block_size, num_warps=1,
    )  # fmt: skip

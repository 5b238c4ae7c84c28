"""Attention over the paged cache against brute force in fp64, in a cache that is NaN wherever nobody may look."""

from dataclasses import dataclass

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from opdlm.decode.cache import Cache, SdpaAttention, Tokens
from tests.conftest import assert_close, make_model

HEADS, KV_HEADS, DIM = 4, 2, 8


@dataclass(frozen=True)
class Part:
    """New tokens of one sequence: how many blocks are cached, how many follow, and how long the tiles are."""

    cached: int
    new: int
    tile: int


parts = st.builds(Part, st.integers(0, 5), st.integers(0, 3), st.integers(1, 9))


def attended(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention of one token's heads `[heads, dim]` over `[kv_heads, keys, dim]`, in fp64."""
    group = len(query) // len(keys)
    heads = []
    for head, row in enumerate(query.double()):
        weights = (keys[head // group].double() @ row / len(row) ** 0.5).softmax(dim=0)
        heads.append(weights @ values[head // group].double())
    return torch.stack(heads)


def at(entries: Tensor, table: Tensor, slot: int, position: int) -> Tensor:
    """The place `[2, kv_heads, dim]` in the cache where a token's key and value belong."""
    page_size = entries.shape[3]
    return entries[:, int(table[slot, position // page_size]), :, position % page_size]


def tiles_of(parts: list[Part], block_size: int, empty: int, padding: int) -> Tokens:
    """The parts' tokens in tiles; then tiles without tokens, and tokens of the padding slot (the last one)."""
    tiles = [
        (slot, first, min(part.tile, (part.cached + part.new) * block_size - first))
        for slot, part in enumerate(parts)
        for first in range(part.cached * block_size, (part.cached + part.new) * block_size, part.tile)
    ]
    slots, position, count = torch.tensor([*tiles, *[(len(parts), 0, 0)] * empty]).unbind(dim=1)
    token_slots = slots.repeat_interleave(count).tolist() + [len(parts)] * padding
    positions = [first + place for _, first, length in tiles for place in range(length)] + [0] * padding
    return Tokens(
        torch.tensor(token_slots), torch.tensor(positions), slots, count.cumsum(dim=0) - count, count, position,
        int(count.max()), whole=False,
    )  # fmt: skip


@given(
    parts=st.lists(parts, min_size=1, max_size=4).filter(lambda parts: any(part.new for part in parts)),
    block_size=st.sampled_from([1, 4, 8]),
    page_size=st.sampled_from([4, 8, 16]),
    empty=st.integers(0, 2),
    padding=st.integers(0, 3),
    seed=st.integers(0, 100),
)
def test_attention_over_pages_equals_brute_force(
    parts: list[Part], block_size: int, page_size: int, empty: int, padding: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)

    def random(*size: int) -> Tensor:
        return torch.randn(size, generator=generator)

    per_slot = 8 * block_size // page_size + 1
    pages = 1 + (len(parts) + 1) * per_slot
    table = torch.zeros(len(parts) + 1, per_slot, dtype=torch.int32)
    table[:-1] = 1 + torch.randperm(pages - 1, generator=generator)[: len(parts) * per_slot].view(len(parts), -1)
    cache = Cache(make_model().shape, pages, page_size, table, torch.float32)
    assert not torch.stack(cache.entries).any(), "what nobody has written must be finite"

    # Pages are read up to the longest sequence's end; behind its own, each may hold what an earlier owner left there.
    tokens = tiles_of(parts, block_size, empty, padding)
    reach = max(part.cached + part.new for part in parts if part.new) * block_size
    entries = cache.entries[1]
    entries[:] = torch.nan
    for slot, part in enumerate(parts):
        if part.new:
            read = table[slot, : -(-reach // page_size)]
            entries[:, read] = 100 * random(2, len(read), KV_HEADS, page_size, DIM)
            for position in range(part.cached * block_size):
                at(entries, table, slot, position)[:] = random(2, KV_HEADS, DIM)
    before = entries.clone()
    count = len(tokens.positions)
    query, key, value = random(count, HEADS, DIM), random(count, KV_HEADS, DIM), random(count, KV_HEADS, DIM)
    out = SdpaAttention(cache, tokens, block_size)(1, query, key, value)

    expected = before.clone()
    for token, (slot, position) in enumerate(zip(tokens.slots, tokens.positions, strict=True)):
        at(expected, table, slot, position)[:] = torch.stack([key[token], value[token]])
    # Padding tokens share a place, and any of them may be the last.
    assert torch.equal(entries[:, 1:].nan_to_num(7), expected[:, 1:].nan_to_num(7)), "nothing else is written"
    assert not cache.entries[0].any(), "the other layer stays as it was"
    for token in range(count - padding):
        slot, position = tokens.slots[token], int(tokens.positions[token])
        seen = [at(expected, table, slot, place) for place in range((position // block_size + 1) * block_size)]
        keys, values = torch.stack(seen, dim=2)
        assert_close(out[token].double(), attended(query[token], keys, values))
    assert not out[count - padding :].any(), "padding stays finite"

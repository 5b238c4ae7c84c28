"""Attention of a few query tokens over a long paged cache with grouped heads.

A tile is up to `queries` consecutive tokens of one sequence. The tokens and the query heads of one key head become the
rows of one matrix product, so that every key and value is read once (flash-attn 2 packs heads for a single query token
only, and reads a cache of four-token blocks once per query head). Long contexts are split over programs, each with an
online softmax of its own, and the last one to finish joins the parts.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from opdlm.model.kernels import Rotation, norm_and_rotate

LOG2_E = 1.4426950408889634
Tiles = tuple[Tensor, Tensor, Tensor, Tensor]


@triton.jit
def _write(
    key, value, keys, values, table, token_slots, positions,
    key_stride, value_stride, table_stride,
    KV_HEADS: tl.constexpr, DIM: tl.constexpr, PAGE: tl.constexpr,
):  # fmt: skip
    """Put one token's keys and values at its place in the cache."""
    token = tl.program_id(0)
    position = tl.load(positions + token)
    page = tl.load(table + tl.load(token_slots + token) * table_stride + position // PAGE).to(tl.int64)
    heads, dims = tl.arange(0, KV_HEADS)[:, None], tl.arange(0, DIM)[None, :]
    place = ((page * KV_HEADS + heads) * PAGE + position % PAGE) * DIM + dims
    source = heads * DIM + dims
    tl.store(keys + place, tl.load(key + token * key_stride + source))
    tl.store(values + place, tl.load(value + token * value_stride + source))


@triton.jit
def _see(low, high, value, key_low, key_high, seen, scale, best, total, mixed):
    """Take some keys into an online softmax.

    Args:
        low, high: halves of the query rows `[rows, half]`.
        value, key_low, key_high: `[keys, dim]`, `[keys, half]`.
        seen: which key each row sees, `[rows, keys]`.
        scale: of the scores, for exponentials of base 2.
        best, total, mixed: state of the softmax, `[rows]`, `[rows]`, `[rows, dim]`.
    """
    scores = tl.dot(low, tl.trans(key_low), input_precision="ieee")
    scores = tl.dot(high, tl.trans(key_high), scores, input_precision="ieee") * scale
    scores = tl.where(seen, scores, -float("inf"))
    higher = tl.maximum(best, tl.max(scores, 1))
    # A row that has seen no key yet keeps finite numbers.
    anchor = tl.where(higher == -float("inf"), 0.0, higher)
    weights = tl.exp2(scores - anchor[:, None])
    shrink = tl.exp2(best - anchor)
    mixed = mixed * shrink[:, None] + tl.dot(weights.to(value.dtype), value, input_precision="ieee")
    return higher, total * shrink + tl.sum(weights, 1), mixed


@triton.jit(do_not_specialize=["tokens"])
def _attend(
    query, key, value, keys, values, table, tile_slots, tile_first, tile_count, tile_position,
    query_weight, key_weight, cosines, sines, eps, out, parts, log_sums, arrivals,
    query_stride, key_stride, value_stride, table_stride, tokens, scale,
    GROUP: tl.constexpr, ROWS: tl.constexpr, HALF: tl.constexpr, PAGE: tl.constexpr, KEYS: tl.constexpr,
    BLOCK: tl.constexpr, SPLITS: tl.constexpr, NEW: tl.constexpr,
):  # fmt: skip
    """One tile, one key head, one part of the context.

    With `NEW` (places for a tile's tokens) queries and keys come before norms and rotation, and the tile's own keys
    and values, seen from registers, are written to the cache for later. Otherwise all of them are there.
    """
    tile, kv_head, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    kv_heads = tl.num_programs(1)
    count = tl.load(tile_count + tile)
    if count == 0:
        return
    first, position, slot = tl.load(tile_first + tile), tl.load(tile_position + tile), tl.load(tile_slots + tile)
    DIM: tl.constexpr = 2 * HALF
    row, half, dims, offset = tl.arange(0, ROWS), tl.arange(0, HALF), tl.arange(0, DIM), tl.arange(0, KEYS)
    real = row // GROUP < count
    token, head = first + row // GROUP, kv_head * GROUP + row % GROUP
    query_at = query + token[:, None] * query_stride + head[:, None] * DIM + half[None, :]
    low = tl.load(query_at, mask=real[:, None], other=0.0)
    high = tl.load(query_at + HALF, mask=real[:, None], other=0.0)
    horizon = (position + row // GROUP) // BLOCK * BLOCK + BLOCK
    if NEW > 0:
        new = tl.arange(0, NEW)
        here = (new < count)[:, None]
        key_at = key + (first + new)[:, None] * key_stride + kv_head * DIM + half[None, :]
        new_low, new_high = tl.load(key_at, mask=here, other=0.0), tl.load(key_at + HALF, mask=here, other=0.0)
        value_at = value + (first + new)[:, None] * value_stride + kv_head * DIM + dims[None, :]
        new_value = tl.load(value_at, mask=here, other=0.0)
        low, high = norm_and_rotate(
            low, high, query_weight, cosines, sines, position + row // GROUP, real[:, None], eps, HALF
        )
        new_low, new_high = norm_and_rotate(
            new_low, new_high, key_weight, cosines, sines, position + new, here, eps, HALF
        )
        context = position
    else:
        context = (position + count - 1) // BLOCK * BLOCK + BLOCK
    share = tl.cdiv(tl.cdiv(context, KEYS), SPLITS) * KEYS
    begin = split * share
    end = tl.minimum(begin + share, context)

    best = tl.full([ROWS], -float("inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    mixed = tl.zeros([ROWS, DIM], tl.float32)
    if NEW > 0:
        # Before the loop: behind it their registers would halve the programs that a processor holds.
        if split == SPLITS - 1:
            its_page = tl.load(table + slot * table_stride + (position + new) // PAGE, mask=new < count, other=0)
            new_place = ((its_page.to(tl.int64) * kv_heads + kv_head) * PAGE + (position + new) % PAGE)[:, None] * DIM
            tl.store(keys + new_place + half[None, :], new_low, mask=here)
            tl.store(keys + new_place + HALF + half[None, :], new_high, mask=here)
            tl.store(values + new_place + dims[None, :], new_value, mask=here)
            inside = ((position + new)[None, :] < horizon[:, None]) & (new < count)[None, :]
            best, total, mixed = _see(low, high, new_value, new_low, new_high, inside, scale, best, total, mixed)
    for start in range(begin, end, KEYS):
        page = tl.load(table + slot * table_stride + start // PAGE).to(tl.int64)
        place = ((page * kv_heads + kv_head) * PAGE + start % PAGE + offset)[:, None] * DIM
        key_low, key_high = tl.load(keys + place + half[None, :]), tl.load(keys + place + HALF + half[None, :])
        seen = (start + offset)[None, :] < tl.minimum(horizon, context)[:, None]
        best, total, mixed = _see(
            low, high, tl.load(values + place + dims[None, :]), key_low, key_high, seen, scale, best, total, mixed
        )
    mixed = mixed / tl.where(total > 0, total, 1.0)[:, None]
    place = token * kv_heads * GROUP + head
    if SPLITS > 1:
        length = tokens * kv_heads * GROUP
        at = place + split * length
        tl.store(parts + at[:, None] * DIM + dims[None, :], mixed, mask=real[:, None])
        tl.store(log_sums + at, best + tl.log2(total), mask=real)
        tl.debug_barrier()
        if tl.atomic_add(arrivals + tile * kv_heads + kv_head, 1, sem="acq_rel") < SPLITS - 1:
            return
        tl.store(arrivals + tile * kv_heads + kv_head, 0)
        best = tl.full([ROWS], -float("inf"), tl.float32)
        total = tl.zeros([ROWS], tl.float32)
        mixed = tl.zeros([ROWS, DIM], tl.float32)
        for part in tl.static_range(SPLITS):
            at = place + part * length
            # Past the first-level cache, which does not see what other processors write.
            sums = tl.load(log_sums + at, mask=real, other=0.0, cache_modifier=".cg")
            higher = tl.maximum(best, sums)
            anchor = tl.where(higher == -float("inf"), 0.0, higher)
            weights = tl.exp2(sums - anchor)
            shrink = tl.exp2(best - anchor)
            more = tl.load(
                parts + at[:, None] * DIM + dims[None, :], mask=real[:, None], other=0.0, cache_modifier=".cg"
            )
            mixed = mixed * shrink[:, None] + more * weights[:, None]
            total = total * shrink + weights
            best = higher
        mixed = mixed / total[:, None]
    tl.store(out + place[:, None] * DIM + dims[None, :], mixed.to(out.dtype.element_ty), mask=real[:, None])


def write(entries: Tensor, table: Tensor, token_slots: Tensor, positions: Tensor, key: Tensor, value: Tensor) -> None:
    """Store keys and values `[tokens, kv_heads, dim]` of tokens in one layer's pages.

    Args:
        entries: `[2, pages, kv_heads, page_size, dim]`.
        table: pages of each slot, `[slots, pages of a slot]`.
        token_slots, positions: where each token belongs, `[tokens]`.
    """
    _, _, kv_heads, page_size, dim = entries.shape
    _write[(len(positions),)](
        key, value, entries[0], entries[1], table, token_slots, positions,
        key.stride(0), value.stride(0), table.stride(0), kv_heads, dim, page_size,
        num_warps=4,
    )  # fmt: skip


def attend(
    entries: Tensor, table: Tensor, tiles: Tiles, query: Tensor, block_size: int, queries: int,
) -> Tensor:  # fmt: skip
    """Attention of tiles of query tokens over one layer's pages, which hold their keys and values already.

    Args:
        entries, table: as in `write`.
        tiles: slot, first row in `query`, number of tokens and position of the first one, each `[tiles]`.
        query: `[tokens, heads, dim]`.
        block_size: a token sees its sequence up to the end of its own block.
        queries: most tokens of a tile.

    Returns:
        `[tokens, heads, dim]`; rows that belong to no tile are left as they are in memory.
    """
    nothing = Rotation(query, query, query, query, query, 0.0)
    return _launch(entries, table, tiles, query, query, query, nothing, block_size, queries, 1, 0, query)


def decode(
    entries: Tensor, table: Tensor, tiles: Tiles, qkv: tuple[Tensor, Tensor, Tensor], rotation: Rotation,
    block_size: int, queries: int, splits: int, arrivals: Tensor,
) -> Tensor:  # fmt: skip
    """The same for tiles that hold all new tokens of their sequences, and writes their keys and values.

    Args:
        qkv: queries `[tokens, heads, dim]`, keys and values `[tokens, kv_heads, dim]` before norms and rotation.
        rotation: norms and positions.
        splits: parts of the context, a power of two.
        arrivals: int32 zeros, `[tiles * kv_heads]` or more; they are zeros again afterwards.
    """
    new = max(16, triton.next_power_of_2(queries))
    return _launch(entries, table, tiles, *qkv, rotation, block_size, queries, splits, new, arrivals)


def _launch(
    entries: Tensor, table: Tensor, tiles: Tiles, query: Tensor, key: Tensor, value: Tensor, rotation: Rotation,
    block_size: int, queries: int, splits: int, new: int, arrivals: Tensor,
) -> Tensor:  # fmt: skip
    _, _, kv_heads, page_size, dim = entries.shape
    tokens, heads, _ = query.shape
    group = heads // kv_heads
    rows = max(16, triton.next_power_of_2(queries * group))
    out = query.new_empty(tokens, heads, dim)
    parts = out if splits == 1 else query.new_empty(splits, tokens, heads, dim, dtype=torch.float32)
    log_sums = out if splits == 1 else query.new_empty(splits, tokens, heads, dtype=torch.float32)
    _attend[(len(tiles[0]), kv_heads, splits)](
        query, key, value, entries[0], entries[1], table, *tiles,
        rotation.query_weight, rotation.key_weight, rotation.cosines, rotation.sines, rotation.eps,
        out, parts, log_sums, arrivals,
        query.stride(0), key.stride(0), value.stride(0), table.stride(0), tokens, dim**-0.5 * LOG2_E,
        group, rows, dim // 2, page_size, min(page_size, 64), block_size, splits, new,
        num_warps=2 if splits == 1 and rows == 32 else 4, num_stages=2,
    )  # fmt: skip
    return out

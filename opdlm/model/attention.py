"""Attention over packed rows: sequences of different lengths in one row, none seeing another.

The reference runs `scaled_dot_product_attention` segment by segment: no padding, no mask wider than its segment, on any
device. On a CUDA device training rows go through FlexAttention, which skips the three quarters of a row's pairs that
do not see each other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention.flex_attention import BlockMask, FlexKernelOptions, flex_attention

from opdlm.blocks import training_mask, training_ranges
from opdlm.model.qwen3 import Attend

TILE = 128
"""Queries, and keys, that FlexAttention skips or takes together."""
SMALLEST_HEAD = 16
"""Numbers of a head that FlexAttention needs at least."""
# By itself it hands fewer than 128 queries to a kernel for decoding, which has no form for our tiles and fails.
KERNEL: FlexKernelOptions = {"BACKEND": "TRITON"}


@dataclass(frozen=True, slots=True)
class SegmentAttention:
    """An `Attend` over packed segments.

    Attributes:
        lengths: tokens of each segment, in order; they add up to the row.
        masks: for each segment a bool mask `[length, length]`, or `None` for a causal segment.
    """

    lengths: list[int]
    masks: list[Tensor | None]

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        parts = zip(
            query.split(self.lengths), key.split(self.lengths), value.split(self.lengths), self.masks, strict=True
        )
        return torch.cat([_attend(*part) for part in parts])


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Attention within one segment, `[length, heads, dim]`."""
    query, key, value = (x.transpose(0, 1).unsqueeze(0) for x in (query, key, value))
    out = F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=mask is None, enable_gqa=query.shape[1] != key.shape[1]
    )
    return out.squeeze(0).transpose(0, 1)


class BlockSparseAttention:
    """An `Attend` over packed training rows, through FlexAttention; needs a CUDA device.

    What a token sees are two ranges of the pack. Tiles of pairs that all see each other need no mask, tiles in which
    none does are skipped.

    Args:
        lengths: tokens of each row.
        positions, noised: of all tokens, `[tokens]`, as for `opdlm.blocks.training_ranges`.
        block_size: of the diffusion blocks.
    """

    def __init__(self, lengths: list[int], positions: Tensor, noised: Tensor, block_size: int) -> None:
        begins = accumulate(lengths, initial=0)
        rows = zip(positions.split(lengths), noised.split(lengths), begins, strict=False)
        self.ranges = torch.cat(
            [training_ranges(places, copies, block_size) + begin for places, copies, begin in rows], dim=1
        )
        first, limit, own, end = self.ranges.int()

        def seen(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return ((key >= first[query]) & (key < limit[query])) | ((key >= own[query]) & (key < end[query]))

        some, whole = tiles_seen(self.ranges)
        self.mask = BlockMask.from_kv_blocks(
            *_listed(some & ~whole), *_listed(whole), TILE, seen, seq_lengths=(len(positions), len(positions))
        )

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        dim = query.shape[-1]
        beyond = max(0, SMALLEST_HEAD - dim)  # zeros change no product
        query, key, value = (F.pad(x, (0, beyond)).transpose(0, 1).unsqueeze(0) for x in (query, key, value))
        out = _compiled_flex()(
            query, key, value, block_mask=self.mask, scale=dim**-0.5, enable_gqa=True, kernel_options=KERNEL
        )
        return out.squeeze(0).transpose(0, 1)[..., :dim]


def tiles_seen(ranges: Tensor) -> tuple[Tensor, Tensor]:
    """Of which tiles of queries and keys some pairs, and all pairs, see each other.

    Args:
        ranges: keys that each query sees, in two ranges that do not overlap, `[4, tokens]`.

    Returns:
        both bool `[tiles, tiles]`; queries and keys beyond the last token do not count.
    """
    tokens = ranges.shape[1]
    count = -(-tokens // TILE)
    begins = torch.arange(count, device=ranges.device) * TILE
    ends = (begins + TILE).clamp(max=tokens)
    first, limit, own, end = ranges.unsqueeze(-1)
    seen = (torch.minimum(limit, ends) - torch.maximum(first, begins)).clamp(min=0)
    seen = seen + (torch.minimum(end, ends) - torch.maximum(own, begins)).clamp(min=0)  # [tokens, tiles]
    beyond = count * TILE - tokens
    some = F.pad(seen > 0, (0, 0, 0, beyond), value=False).view(count, TILE, count).any(dim=1)
    whole = F.pad(seen == ends - begins, (0, 0, 0, beyond), value=True).view(count, TILE, count).all(dim=1)
    return some, whole


def _listed(tiles: Tensor) -> tuple[Tensor, Tensor]:
    """Tiles of keys for each tile of queries as FlexAttention wants them: how many, and which come first."""
    which = tiles.int().argsort(dim=-1, descending=True, stable=True)
    return tiles.sum(dim=-1).int()[None, None], which.int()[None, None]


@cache
def _compiled_flex() -> Callable[..., Tensor]:
    """FlexAttention as one kernel forward and two backward, for any number of tokens."""
    return torch.compile(flex_attention, dynamic=True)


def causal(lengths: list[int]) -> SegmentAttention:
    """Causal attention within each segment: the teacher's."""
    return SegmentAttention(lengths, [None] * len(lengths))


def training(lengths: list[int], positions: Tensor, noised: Tensor, block_size: int) -> Attend:
    """Attention of packed rows `[clean | noised]`, in the way that is fastest on their device; as `training_mask`."""
    if positions.is_cuda:
        return BlockSparseAttention(lengths, positions, noised, block_size)
    rows = zip(positions.split(lengths), noised.split(lengths), strict=True)
    return SegmentAttention(lengths, [training_mask(*row, block_size) for row in rows])

"""Attention over packed rows: sequences of different lengths in one row, none seeing another.

The reference runs `scaled_dot_product_attention` segment by segment: no padding, no mask wider than its segment, on any
device. On a CUDA device training rows go through FlexAttention, which skips the three quarters of a row's pairs that
do not see each other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from opdlm.blocks import sees, training_mask
from opdlm.model.qwen3 import Attend


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

    Args:
        lengths: tokens of each row.
        positions, noised: of all tokens, `[tokens]`, as for `opdlm.blocks.training_mask`.
        block_size: of the diffusion blocks.
    """

    def __init__(self, lengths: list[int], positions: Tensor, noised: Tensor, block_size: int) -> None:
        device, tokens = positions.device, len(positions)
        row = torch.arange(len(lengths), device=device).repeat_interleave(torch.tensor(lengths, device=device))
        block = positions // block_size

        def seen(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return (row[query] == row[key]) & sees(block[query], noised[query], block[key], noised[key])

        self.mask = create_block_mask(seen, None, None, tokens, tokens, device)

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        query, key, value = (x.transpose(0, 1).unsqueeze(0) for x in (query, key, value))
        out = _compiled_flex()(query, key, value, block_mask=self.mask, enable_gqa=True)
        return out.squeeze(0).transpose(0, 1)


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

"""Attention over packed rows: sequences of different lengths in one row, none seeing another.

The reference back end runs `scaled_dot_product_attention` segment by segment: no padding, no mask wider than its
segment, the same numbers on CPU and GPU.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


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
        group = query.shape[-2] // key.shape[-2]
        key, value = key.repeat_interleave(group, dim=-2), value.repeat_interleave(group, dim=-2)
        parts = zip(
            query.split(self.lengths), key.split(self.lengths), value.split(self.lengths), self.masks, strict=True
        )
        return torch.cat([_attend(*part) for part in parts])


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Attention within one segment, `[length, heads, dim]`."""
    query, key, value = (x.transpose(0, 1).unsqueeze(0) for x in (query, key, value))
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=mask is None)
    return out.squeeze(0).transpose(0, 1)


def causal(lengths: list[int]) -> SegmentAttention:
    """Causal attention within each segment: the teacher's."""
    return SegmentAttention(lengths, [None] * len(lengths))

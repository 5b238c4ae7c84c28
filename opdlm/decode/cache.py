"""Keys and values of every sequence in flight, and attention over them."""

import torch
from torch import Tensor
from torch.nn import functional as F

from opdlm.blocks import clean_mask, covered
from opdlm.model.shape import Shape


class Cache:
    """One row per slot: `[layers, 2, slots, capacity, kv_heads, head_dim]`."""

    def __init__(self, shape: Shape, slots: int, capacity: int, like: Tensor) -> None:
        size = (shape.num_hidden_layers, 2, slots, capacity, shape.num_key_value_heads, shape.head_dim)
        self.entries = torch.zeros(size, dtype=like.dtype, device=like.device)


class CachedAttention:
    """An `Attend` for decoding: write the tokens' keys and values, then attend up to the end of each token's block.

    Prefill, denoising, and the clean pass over a finished block are all this one operation. A query at position `p`
    sees every key of its sequence before the end of the block of `p`; with block size 1 that is causal attention.

    Args:
        cache: where keys and values live.
        slots: the sequences of this forward, `[sequences]`.
        begin, end: each sequence forwards its positions from `begin` to `end`, `[sequences]`.
        block_size: of the attention geometry.
    """

    def __init__(self, cache: Cache, slots: Tensor, begin: Tensor, end: Tensor, block_size: int) -> None:
        counts = end - begin
        queries, context = int(counts.max()), covered(int(end.max()), block_size)
        offset = torch.arange(queries, device=slots.device)
        self.cache, self.slots, self.context = cache, slots, context
        self.real = offset < counts[:, None]
        """Which places of the padded `[sequences, queries]` layout hold a token; tokens are flat in that order."""
        self.token_slots = slots.repeat_interleave(counts)
        padded_positions = begin[:, None] + offset
        self.positions = padded_positions[self.real]
        keys = torch.arange(context, device=slots.device).expand(len(slots), -1)
        self.mask = clean_mask(padded_positions, keys, block_size)

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        keys, values = self.cache.entries[layer]
        keys[self.token_slots, self.positions], values[self.token_slots, self.positions] = key, value
        padded = query.new_zeros(*self.real.shape, *query.shape[1:])
        padded[self.real] = query
        out = self._attend(padded, keys[self.slots, : self.context], values[self.slots, : self.context])
        return out[self.real]

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Grouped attention, `[sequences, queries, heads, dim]` over `[sequences, context, kv_heads, dim]`.

        The heads of a group become further query rows of their key head, so that no key is copied.
        """
        kv_heads = key.shape[2]
        group = query.shape[2] // kv_heads
        rows = query.unflatten(2, (kv_heads, group)).permute(0, 2, 3, 1, 4).flatten(2, 3)
        mask = self.mask.repeat(1, group, 1).unsqueeze(1)
        out = F.scaled_dot_product_attention(rows, key.transpose(1, 2), value.transpose(1, 2), attn_mask=mask)
        return out.unflatten(2, (group, -1)).permute(0, 3, 1, 2, 4).flatten(2, 3)

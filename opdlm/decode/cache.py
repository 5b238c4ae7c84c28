"""Keys and values of every sequence in flight, in pages, and attention over them.

Prefill, denoising, and the clean pass over a finished block are one operation: write the tokens' keys and values, then
attend up to the end of each token's own block. With block size 1 that is causal attention.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from opdlm.blocks import clean_mask, covered
from opdlm.model.qwen3 import Attend
from opdlm.model.shape import Shape

if TYPE_CHECKING:
    from opdlm.model.kernels import Rotation

PADDING_PAGE = 0
"""Takes the keys and values of padding tokens; no sequence reads it."""


class Cache:
    """Pages of keys and values of every layer.

    Attributes:
        entries: for each layer `[2, pages, kv_heads, page_size, head_dim]`. One tensor a layer, so that the memory
            fits into what other tensors left free.
        table: pages of each slot in order, `[slots, pages of a slot]`.
    """

    def __init__(self, shape: Shape, pages: int, page_size: int, table: Tensor, dtype: torch.dtype) -> None:
        size = (2, pages, shape.num_key_value_heads, page_size, shape.head_dim)
        self.page_size, self.table = page_size, table
        # Zeros, since what is beyond a sequence's end in its last page is multiplied by zero, and must be finite.
        self.entries = [torch.zeros(size, dtype=dtype, device=table.device) for _ in range(shape.num_hidden_layers)]


def page_bytes(shape: Shape, page_size: int, dtype: torch.dtype) -> int:
    """Memory of one page over all layers."""
    return 2 * shape.num_hidden_layers * shape.num_key_value_heads * page_size * shape.head_dim * dtype.itemsize


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one forward, flat, in tiles of consecutive tokens of one sequence.

    Attributes:
        slots, positions: where each token belongs, `[tokens]`.
        tile_slots, tile_first, tile_count, tile_position: sequence, first token, number of tokens and position of the
            first one of each tile, `[tiles]`.
        queries: most tokens of a tile.
        whole: whether a sequence's tokens are all in one tile.
    """

    slots: Tensor
    positions: Tensor
    tile_slots: Tensor
    tile_first: Tensor
    tile_count: Tensor
    tile_position: Tensor
    queries: int
    whole: bool

    def to(self, device: torch.device) -> "Tokens":
        """The same on another device."""
        tensors = self.slots, self.positions, self.tile_slots, self.tile_first, self.tile_count, self.tile_position
        moved = [tensor.to(device) for tensor in tensors]
        return Tokens(moved[0], moved[1], moved[2], moved[3], moved[4], moved[5], self.queries, self.whole)


def cached_attention(cache: Cache, tokens: Tokens, block_size: int) -> Attend:
    """The fastest back end for the cache's device and shape."""
    entries = cache.entries[0]
    _, _, kv_heads, page_size, head_dim = entries.shape
    if not kernel_fits(entries.device, kv_heads, head_dim, page_size, block_size):
        return SdpaAttention(cache, tokens, block_size)
    return (TritonDecoding if tokens.whole else TritonAttention)(cache, tokens, block_size)


def kernel_fits(device: torch.device, kv_heads: int, head_dim: int, page_size: int, block_size: int) -> bool:
    """Whether our kernel runs on this device and with these sizes."""
    tile = min(page_size, 64)
    sizes = all(number & (number - 1) == 0 for number in (kv_heads, head_dim, tile, block_size))
    return device.type == "cuda" and sizes and head_dim >= 32 and tile >= 16 and page_size % tile == 0


class SdpaAttention:
    """The reference back end: PyTorch's attention over gathered pages."""

    def __init__(self, cache: Cache, tokens: Tokens, block_size: int) -> None:
        self.cache, self.tokens = cache, tokens
        self.page = cache.table[tokens.slots, tokens.positions // cache.page_size]
        self.offset = tokens.positions % cache.page_size
        place = torch.arange(int(tokens.tile_count.max()), device=tokens.positions.device)
        self.real = place < tokens.tile_count[:, None]
        """Which places of the `[tiles, queries]` layout hold a token."""
        self.places = (tokens.tile_first[:, None] + place)[self.real]
        queries = tokens.tile_position[:, None] + place
        context = covered(int((tokens.tile_position + tokens.tile_count).max()), block_size)
        pages = -(-context // cache.page_size)
        kv_heads = cache.entries[0].shape[2]
        heads = torch.arange(kv_heads, device=queries.device)
        self.rows = cache.table[tokens.tile_slots, None, :pages] * kv_heads + heads[:, None]
        keys = torch.arange(pages * cache.page_size, device=queries.device).expand(len(queries), -1)
        self.mask = clean_mask(queries, keys, block_size)

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        entries = self.cache.entries[layer]
        entries[0, self.page, :, self.offset] = key
        entries[1, self.page, :, self.offset] = value
        padded = query.new_zeros(*self.real.shape, *query.shape[1:])
        padded[self.real] = query[self.places]
        # [tiles, kv_heads, context, head_dim]
        keys, values = (part.flatten(0, 1)[self.rows].flatten(2, 3) for part in entries)
        out = torch.zeros_like(query)
        out[self.places] = self._attend(padded, keys, values)[self.real]
        return out

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Grouped attention: the heads of a group become further query rows of their key head, so no key is copied."""
        group = query.shape[2] // key.shape[1]
        rows = query.unflatten(2, (-1, group)).permute(0, 2, 3, 1, 4).flatten(2, 3)
        mask = self.mask.repeat(1, group, 1).unsqueeze(1)
        out = F.scaled_dot_product_attention(rows, key, value, attn_mask=mask)
        return out.unflatten(2, (group, -1)).permute(0, 3, 1, 2, 4).flatten(2, 3)


class TritonAttention:
    """Our kernel: every key and value is read once for all query tokens and heads that share it."""

    def __init__(self, cache: Cache, tokens: Tokens, block_size: int) -> None:
        self.cache, self.tokens, self.block_size = cache, tokens, block_size
        self.tiles = (tokens.tile_slots, tokens.tile_first, tokens.tile_count, tokens.tile_position)

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        from opdlm.decode.kernels import attention

        entries, table, tokens = self.cache.entries[layer], self.cache.table, self.tokens
        attention.write(entries, table, tokens.slots, tokens.positions, key, value)
        return attention.attend(entries, table, self.tiles, query, self.block_size, tokens.queries)


class TritonDecoding(TritonAttention):
    """The same where each tile holds all new tokens of its sequence: norms, rotation, writing and attention in one."""

    PROGRAMS = 512
    """Programs that keep a GPU busy; contexts are split while there are at most half as many."""

    def __init__(self, cache: Cache, tokens: Tokens, block_size: int) -> None:
        super().__init__(cache, tokens, block_size)
        programs = len(tokens.tile_slots) * cache.entries[0].shape[2]
        self.splits = min(16, 1 << max(0, (self.PROGRAMS // programs).bit_length() - 1))
        self.arrivals = torch.zeros(programs, dtype=torch.int32, device=cache.table.device)

    def raw(self, layer: int, qkv: Tensor, rotation: "Rotation") -> Tensor:
        """Attention of `qkv [tokens, (heads + 2 kv_heads) * dim]` before norms and rotation."""
        from opdlm.decode.kernels import attention

        entries = self.cache.entries[layer]
        kv_heads, dim = entries.shape[2], entries.shape[-1]
        split = qkv.unflatten(-1, (-1, dim)).tensor_split((-2 * kv_heads, -kv_heads), dim=1)
        return attention.decode(
            entries, self.cache.table, self.tiles, split, rotation,
            self.block_size, self.tokens.queries, self.splits, self.arrivals,
        )  # fmt: skip

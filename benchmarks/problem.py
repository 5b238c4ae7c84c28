"""The attention of one denoising step: random inputs, and its result in fp64."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from opdlm.blocks import block_end
from opdlm.decode.cache import Cache, Tokens
from opdlm.model.qwen3 import rotary_table, rotate
from opdlm.model.shape import DEFAULT_BLOCK_SIZE, Shape

BLOCK = DEFAULT_BLOCK_SIZE


@dataclass(frozen=True, slots=True)
class Problem:
    """The attention of one denoising step, in as many layers as there are caches.

    Attributes:
        shape: heads, and the number of layers.
        context: tokens of every sequence, the new ones included.
        cache: pages with the keys and values of all of them.
        tokens: the new ones: a block of each sequence, two of every fourth, which has just finished one.
        qkv: of the new ones, before norms and rotation, `[tokens, (heads + 2 kv_heads) * dim]`; the same in all layers.
        norms: weights of the norms of queries and keys, `[2, dim]`.
        query: after norms and rotation, `[tokens, heads, dim]`.
    """

    shape: Shape
    context: int
    cache: Cache
    tokens: Tokens
    qkv: Tensor
    norms: Tensor
    query: Tensor

    @property
    def bytes(self) -> int:
        """Of one layer's keys and values, read once."""
        part = self.cache.entries[0]
        each = part.shape[0] * part.shape[2] * part.shape[4] * part.element_size()
        return each * self.context * len(self.tokens.tile_slots)


def make_problem(shape: Shape, sequences: int, context: int, device: torch.device) -> Problem:
    """Random inputs; bf16 and pages of 64 tokens, on a CPU fp32 and 16."""
    cuda = device.type == "cuda"
    dtype, page_size = (torch.bfloat16, 64) if cuda else (torch.float32, 16)
    generator = torch.Generator(device).manual_seed(0)
    pages = -(-context // page_size)
    table = torch.randperm(sequences * pages, device=device, generator=generator).view(sequences, pages).int() + 1
    cache = Cache(shape, sequences * pages + 1, page_size, table, dtype)
    for entries in cache.entries:
        entries.normal_(generator=generator)
    tokens = step_tokens(sequences, context, device)
    heads, kv_heads, dim = shape.num_attention_heads, shape.num_key_value_heads, shape.head_dim
    qkv = torch.empty(len(tokens.slots), (heads + 2 * kv_heads) * dim, device=device, dtype=dtype)
    qkv.normal_(generator=generator)
    norms = torch.empty(2, dim, device=device, dtype=dtype).normal_(1, 0.1, generator=generator)
    query, key, value = qkv.unflatten(-1, (-1, dim)).split([heads, kv_heads, kv_heads], dim=1)
    query, key = (rotated(x, w, tokens.positions, shape) for x, w in zip((query, key), norms, strict=True))
    page, offset = table[tokens.slots, tokens.positions // page_size].long(), tokens.positions % page_size
    for entries in cache.entries:
        entries[0, page, :, offset], entries[1, page, :, offset] = key, value
    return Problem(shape, context, cache, tokens, qkv, norms, query)


def step_tokens(sequences: int, context: int, device: torch.device) -> Tokens:
    """The new tokens of a step, at the ends of the sequences."""
    counts = torch.full((sequences,), BLOCK, device=device)
    counts[::4] = 2 * BLOCK
    first, position, slots = counts.cumsum(0) - counts, context - counts, torch.arange(sequences, device=device)
    owner = slots.repeat_interleave(counts)
    positions = position[owner] + torch.arange(len(owner), device=device) - first[owner]
    return Tokens(owner, positions, slots, first, counts, position, 2 * BLOCK, whole=True)


def rotated(x: Tensor, weight: Tensor, positions: Tensor, shape: Shape) -> Tensor:
    """Norm and rotary positions of `[tokens, heads, dim]`."""
    normalised = weight * F.rms_norm(x.float(), x.shape[-1:], eps=shape.rms_norm_eps).to(x.dtype)
    return rotate(normalised, rotary_table(positions, shape, x.dtype))


def brute_force(problem: Problem, layer: int, token: int) -> Tensor:
    """The attention of one token in fp64, `[heads, dim]`."""
    kv_heads, dim = problem.shape.num_key_value_heads, problem.shape.head_dim
    seen = block_end(int(problem.tokens.positions[token]), BLOCK)
    pages = problem.cache.table[problem.tokens.slots[token]].long()
    parts = problem.cache.entries[layer][:, pages].double()  # [2, pages, kv_heads, page_size, dim]
    keys, values = parts.transpose(1, 2).flatten(2, 3)[:, :, :seen]  # [kv_heads, seen, dim]
    query = problem.query[token].double().unflatten(0, (kv_heads, -1))
    weights = (query @ keys.transpose(1, 2) / dim**0.5).softmax(-1)
    return (weights @ values).flatten(0, 1)

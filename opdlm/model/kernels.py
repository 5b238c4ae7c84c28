"""Triton kernels of the decoding forward pass; imported on a CUDA device only."""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _norm(x, weight, out, width, eps, WIDTH: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, WIDTH)
    inside = column < width
    narrow = tl.load(x + row * width + column, mask=inside, other=0.0)
    wide = narrow.to(tl.float32)
    scaled = (wide * tl.rsqrt(tl.sum(wide * wide, 0) / width + eps)).to(narrow.dtype)
    tl.store(out + row * width + column, scaled * tl.load(weight + column, mask=inside, other=0.0), mask=inside)


def norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """The root-mean-square norm of `x [tokens, width]`."""
    tokens, width = x.shape
    out = torch.empty_like(x)
    _norm[(tokens,)](
        x, weight, out, width, eps, triton.next_power_of_2(width), num_warps=8 if width > 1024 else 4
    )  # fmt: skip
    return out


@triton.jit
def norm_and_rotate(low, high, weight, cosines, sines, positions, real, eps, HALF: tl.constexpr):
    """Norm and rotary positions of heads given in halves.

    Args:
        low, high: the halves of each head's vector, `[rows, HALF]`.
        weight: pointer to the norm's weights `[2 HALF]`.
        cosines, sines: pointers to the tables `[positions, HALF]`.
        positions: `[rows]`.
        real: which rows count, `[rows, 1]`.
    """
    lane = tl.arange(0, HALF)[None, :]
    low_wide, high_wide = low.to(tl.float32), high.to(tl.float32)
    square = tl.sum(low_wide * low_wide + high_wide * high_wide, 1, keep_dims=True) / (2 * HALF)
    scale = tl.rsqrt(square + eps)
    low_wide = ((low_wide * scale).to(low.dtype) * tl.load(weight + lane)).to(tl.float32)
    high_wide = ((high_wide * scale).to(low.dtype) * tl.load(weight + HALF + lane)).to(tl.float32)
    at = positions[:, None] * HALF + lane
    cos = tl.load(cosines + at, mask=real, other=0.0).to(tl.float32)
    sin = tl.load(sines + at, mask=real, other=0.0).to(tl.float32)
    return (low_wide * cos - high_wide * sin).to(low.dtype), (high_wide * cos + low_wide * sin).to(low.dtype)


@triton.jit
def _norm_rotate(
    qkv, query_weight, key_weight, cosines, sines, positions, stride, heads, kv_heads, eps,
    HALF: tl.constexpr, HEADS: tl.constexpr,
):  # fmt: skip
    """Some heads of one token: of the queries, or of the keys."""
    token = tl.program_id(0).to(tl.int64)
    programs = tl.cdiv(heads, HEADS)
    of_keys = tl.program_id(1) >= programs
    head = (tl.program_id(1) - of_keys * programs) * HEADS + tl.arange(0, HEADS)[:, None]
    inside = head < tl.where(of_keys, kv_heads, heads)
    at = qkv + token * stride + (head + of_keys * heads) * 2 * HALF + tl.arange(0, HALF)[None, :]
    low, high = tl.load(at, mask=inside, other=0.0), tl.load(at + HALF, mask=inside, other=0.0)
    position = tl.load(positions + token) + tl.zeros([HEADS], tl.int64)
    weight = key_weight if of_keys else query_weight
    low, high = norm_and_rotate(low, high, weight, cosines, sines, position, inside, eps, HALF)
    tl.store(at, low, mask=inside)
    tl.store(at + HALF, high, mask=inside)


@dataclass(frozen=True, slots=True)
class Rotation:
    """What queries and keys go through before they meet.

    Attributes:
        query_weight, key_weight: norm weights `[dim]`.
        cosines, sines: of all positions, `[positions, dim / 2]`.
        positions: of the tokens, `[tokens]`.
        eps: of the norms.
    """

    query_weight: Tensor
    key_weight: Tensor
    cosines: Tensor
    sines: Tensor
    positions: Tensor
    eps: float


def norm_rotate(qkv: Tensor, heads: int, kv_heads: int, rotation: Rotation) -> None:
    """Normalise and rotate queries and keys in place.

    Args:
        qkv: `[tokens, (heads + 2 kv_heads) * dim]`: queries, keys and values side by side.
        heads, kv_heads: number of query and of key heads.
        rotation: norms and positions.
    """
    step, half = 8, rotation.cosines.shape[1]
    _norm_rotate[(len(qkv), triton.cdiv(heads, step) + triton.cdiv(kv_heads, step))](
        qkv, rotation.query_weight, rotation.key_weight, rotation.cosines, rotation.sines, rotation.positions,
        qkv.stride(0), heads, kv_heads, rotation.eps, half, step, num_warps=4,
    )  # fmt: skip


@triton.jit
def _silu_product(both, out, width, WIDTH: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    inside = column < width
    gate = tl.load(both + row * 2 * width + column, mask=inside, other=0.0)
    up = tl.load(both + row * 2 * width + width + column, mask=inside, other=0.0)
    wide = gate.to(tl.float32)
    tl.store(out + row * width + column, (wide / (1.0 + tl.exp(-wide))).to(gate.dtype) * up, mask=inside)


def silu_product(both: Tensor) -> Tensor:
    """`silu(gate) * up` of `[tokens, 2 * width]`, gate and up side by side."""
    tokens, double = both.shape
    width = double // 2
    out = both.new_empty(tokens, width)
    step = min(2048, triton.next_power_of_2(width))
    _silu_product[(tokens, triton.cdiv(width, step))](both, out, width, step, num_warps=4)
    return out

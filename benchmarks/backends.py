"""Back ends of a denoising step's attention, all on the same queries, keys and values.

Each is given its inputs in the layout that it likes best, prepared beforehand; what is called, and timed, is the
attention of one layer. Ours alone does more in that call: it normalises and rotates queries and new keys, and writes
the new keys and values to the pages.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from problem import BLOCK, Problem
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from opdlm.blocks import block_end, clean_mask
from opdlm.decode.cache import TritonDecoding
from opdlm.model.qwen3 import rotary_table


class Unavailable(Exception):  # noqa: N818 - not an error
    """Why a back end does not run here."""


class Backend:
    """The attention of a problem's layers."""

    name: str

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def __call__(self, layer: int) -> Tensor:
        """What is timed."""
        raise NotImplementedError

    def flat(self, out: Tensor) -> Tensor:
        """What a call returns as `[tokens, heads, dim]`."""
        return out


class Ours(Backend):
    """The engine's kernel with the engine's choice of splits."""

    name = "ours (with norms, rotation, writing)"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        if not problem.qkv.is_cuda and os.environ.get("TRITON_INTERPRET") != "1":
            raise Unavailable("needs a CUDA device, or TRITON_INTERPRET=1")
        try:
            from opdlm.model.kernels import Rotation
        except ImportError as error:
            raise Unavailable(f"needs Triton ({error})") from error
        tokens, half = problem.tokens, problem.shape.head_dim // 2
        everywhere = torch.arange(problem.context, device=problem.qkv.device)
        tables = rotary_table(everywhere, problem.shape, problem.qkv.dtype)
        cos, sin = (table[:, 0, :half].contiguous() for table in tables)
        self.attend = TritonDecoding(problem.cache, tokens, BLOCK)
        self.rotation = Rotation(*problem.norms, cos, sin, tokens.positions, problem.shape.rms_norm_eps)

    def __call__(self, layer: int) -> Tensor:
        return self.attend.raw(layer, self.problem.qkv, self.rotation)


@dataclass(frozen=True, slots=True, order=True)
class Launch:
    """How the kernel is launched: parts of the context, warps of a program, stages of its loop."""

    splits: int
    warps: int
    stages: int

    def __str__(self) -> str:
        return f"splits {self.splits:2} warps {self.warps} stages {self.stages}"


class Tuned(Ours):
    """The engine's kernel launched in another way."""

    def __init__(self, problem: Problem, launch: Launch) -> None:
        super().__init__(problem)
        self.name, self.launch, self.attend.splits = str(launch), launch, launch.splits

    def __call__(self, layer: int) -> Tensor:
        from opdlm.decode.kernels import attention

        changed = {"num_warps": self.launch.warps, "num_stages": self.launch.stages}
        with mock.patch.object(attention, "_attend", Changed(attention._attend, changed)):
            return super().__call__(layer)


@dataclass(frozen=True, slots=True)
class Changed:
    """A Triton kernel, some options of whose launches are replaced."""

    kernel: Any
    options: dict[str, int]

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return lambda *arguments, **options: self.kernel[grid](*arguments, **{**options, **self.options})


class Sdpa(Backend):
    """PyTorch's attention with the heads of a group as further query rows of their key head, as `SdpaAttention`."""

    name = "SDPA, contiguous cache"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        tokens, shape = problem.tokens, problem.shape
        self.group = shape.num_attention_heads // shape.num_key_value_heads
        place = torch.arange(tokens.queries, device=problem.query.device)
        self.real = place < tokens.tile_count[:, None]
        keys = torch.arange(problem.context, device=place.device).expand(len(self.real), -1)
        seen = clean_mask(tokens.tile_position[:, None] + place, keys, BLOCK).repeat(1, self.group, 1).unsqueeze(1)
        # Added to the scores: a bool mask is converted to this in every call.
        self.mask = torch.zeros_like(seen, dtype=problem.query.dtype).masked_fill(~seen, -torch.inf)
        padded = padded_queries(problem, self.real)
        self.rows = padded.unflatten(2, (-1, self.group)).permute(0, 2, 3, 1, 4).flatten(2, 3)
        self._prepare_caches()

    def _prepare_caches(self) -> None:
        self.layers = contiguous(self.problem)

    def __call__(self, layer: int) -> Tensor:
        keys, values = self.layers[layer]
        return F.scaled_dot_product_attention(self.rows, keys, values, attn_mask=self.mask)

    def flat(self, out: Tensor) -> Tensor:
        return out.unflatten(2, (self.group, -1)).permute(0, 3, 1, 2, 4).flatten(2, 3)[self.real]


class SdpaGathering(Sdpa):
    """The same, the pages of a layer gathered first."""

    name = "SDPA, pages gathered first"

    def _prepare_caches(self) -> None:
        self.pages = page_rows(self.problem)

    def __call__(self, layer: int) -> Tensor:
        keys, values = gathered(self.problem, layer, self.pages)
        return F.scaled_dot_product_attention(self.rows, keys, values, attn_mask=self.mask)


class Flex(Backend):
    """FlexAttention, compiled for this problem; on a CPU its reference."""

    name = "FlexAttention, contiguous cache"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        tokens, device = problem.tokens, problem.query.device
        place = torch.arange(tokens.queries, device=device)
        horizon = block_end(tokens.tile_position[:, None] + place, BLOCK)

        def seen(tile: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return key < horizon[tile, query]

        self.real = place < tokens.tile_count[:, None]
        self.mask = create_block_mask(
            seen, B=len(self.real), H=None, Q_LEN=tokens.queries, KV_LEN=problem.context, device=device
        )
        self.query = padded_queries(problem, self.real).transpose(1, 2).contiguous()
        self.layers = contiguous(problem)
        # Each problem has its own mask and shapes, and after eight of them the compiler would give up.
        torch.compiler.reset()
        self.attention = torch.compile(flex_attention, dynamic=False) if device.type == "cuda" else flex_attention

    def __call__(self, layer: int) -> Tensor:
        keys, values = self.layers[layer]
        return self.attention(self.query, keys, values, block_mask=self.mask, enable_gqa=True)

    def flat(self, out: Tensor) -> Tensor:
        return out.transpose(1, 2)[self.real]


class Flash(Backend):
    """flash-attn's kernel for a cache.

    It cannot let the two blocks of a tile see differently far, so that each block is a sequence of its own; where a
    tile has two, both read the same cache.
    """

    name = "flash-attn, contiguous cache"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        try:
            from flash_attn import flash_attn_with_kvcache
        except ImportError as error:
            raise Unavailable(f"flash-attn is not installed ({error})") from error
        self.attention, tokens = flash_attn_with_kvcache, problem.tokens
        self.blocks = problem.query.unflatten(0, (-1, BLOCK))
        self.owners = tokens.slots[::BLOCK].int()
        self.seen = block_end(tokens.positions[::BLOCK], BLOCK).int()
        layers, pages = range(len(problem.cache.entries)), page_rows(problem)
        # [sequences, context, kv_heads, dim]
        self.layers = [
            [part.transpose(1, 2).contiguous() for part in gathered(problem, layer, pages)] for layer in layers
        ]

    def __call__(self, layer: int) -> Tensor:
        keys, values = self.layers[layer]
        return self.attention(self.blocks, keys, values, cache_seqlens=self.seen, cache_batch_idx=self.owners)

    def flat(self, out: Tensor) -> Tensor:
        return out.flatten(0, 1)


def padded_queries(problem: Problem, real: Tensor) -> Tensor:
    """The queries tile by tile, `[tiles, queries, heads, dim]`, zeros where `real [tiles, queries]` is false."""
    padded = problem.query.new_zeros(*real.shape, *problem.query.shape[1:])
    padded[real] = problem.query
    return padded


def page_rows(problem: Problem) -> Tensor:
    """Where the pages of each sequence and key head are among all pages and heads, `[sequences, kv_heads, pages]`."""
    kv_heads, table = problem.shape.num_key_value_heads, problem.cache.table
    return table[:, None, :] * kv_heads + torch.arange(kv_heads, device=table.device)[:, None]


def gathered(problem: Problem, layer: int, rows: Tensor) -> list[Tensor]:
    """Keys and values of all sequences, each `[sequences, kv_heads, context, dim]`, as `SdpaAttention` gathers them."""
    entries, context = problem.cache.entries[layer], problem.context
    return [part.flatten(0, 1)[rows].flatten(2, 3)[:, :, :context] for part in entries]


def contiguous(problem: Problem) -> list[list[Tensor]]:
    """The same of every layer, as they would lie in a cache without pages."""
    layers, rows = range(len(problem.cache.entries)), page_rows(problem)
    return [[part.contiguous() for part in gathered(problem, layer, rows)] for layer in layers]


BACKENDS: dict[str, type[Backend]] = {
    "ours": Ours,
    "sdpa": Sdpa,
    "sdpa-gathering": SdpaGathering,
    "flex": Flex,
    "flash": Flash,
}

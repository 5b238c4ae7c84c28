"""Attention over packed rows: each back end is the rule of who sees whom, and nothing else."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from opdlm.blocks import training_mask
from opdlm.model.attention import TILE, BlockSparseAttention, SegmentAttention, causal, tiles_seen, training
from opdlm.model.qwen3 import Attend

BLOCK, HEADS, KV_HEADS = 4, 4, 2
ROWS = [(5, 16), (128, 400), (1, 4), (40, 72)]
"""Prompt tokens, and the end of the last block, of each row."""


def row(prompt: int, end: int) -> tuple[Tensor, Tensor]:
    """Positions, and which are noised."""
    clean, noised = torch.arange(end - BLOCK), torch.arange(prompt // BLOCK * BLOCK, end)
    return torch.cat([clean, noised]), torch.arange(len(clean) + len(noised)) >= len(clean)


def packed() -> tuple[list[int], Tensor, Tensor]:
    """Lengths, positions and noised copies of all rows."""
    parts = [row(*ends) for ends in ROWS]
    positions, noised = (torch.cat(part) for part in zip(*parts, strict=True))
    return [len(part) for part, _ in parts], positions, noised


def inputs(tokens: int, dim: int, dtype: torch.dtype, device: str, gradients: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value, `[tokens, heads, dim]`."""
    generator = torch.Generator().manual_seed(0)
    heads = (HEADS, KV_HEADS, KV_HEADS)
    return tuple(  # type: ignore[return-value]
        torch.randn(tokens, count, dim, generator=generator).to(device, dtype).requires_grad_(gradients)
        for count in heads
    )


def brute_force(query: Tensor, key: Tensor, value: Tensor, lengths: list[int], masks: list[Tensor]) -> Tensor:
    """Softmax over a row's dense scores, in fp64."""
    out, group = [], HEADS // KV_HEADS
    query, key, value = (
        query.double(),
        key.double().repeat_interleave(group, 1),
        value.double().repeat_interleave(group, 1),
    )
    for q, k, v, mask in zip(query.split(lengths), key.split(lengths), value.split(lengths), masks, strict=True):
        scores = torch.einsum("qhd,khd->hqk", q, k) * q.shape[-1] ** -0.5
        weights = scores.masked_fill(~mask.to(scores.device), -torch.inf).softmax(dim=-1)
        out.append(torch.einsum("hqk,khd->qhd", weights, v))
    return torch.cat(out)


def assert_same(
    attend: Attend, masks: list[Tensor], dtype: torch.dtype, device: str, dim: int = 16, gradients: bool = True
) -> None:
    """Outputs and gradients are those of brute force, to the precision of `dtype`."""
    lengths = [len(mask) for mask in masks]
    given, exact = (inputs(sum(lengths), dim, dtype, device, gradients) for _ in range(2))
    out, expected = attend(0, *given), brute_force(*exact, lengths, masks)
    close: Callable[..., None] = torch.testing.assert_close
    tolerance = {"atol": 2e-2, "rtol": 2e-2} if dtype == torch.bfloat16 else {"atol": 1e-4, "rtol": 1e-4}
    close(out.double(), expected, **tolerance)
    if gradients:
        direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(device)
        (out.float() * direction).sum().backward()
        (expected * direction.double()).sum().backward()
        for one, other in zip(given, exact, strict=True):
            assert one.grad is not None
            close(one.grad.double(), other.grad.double(), **{name: 3 * bound for name, bound in tolerance.items()})  # type: ignore[union-attr]


def row_masks() -> list[Tensor]:
    return [training_mask(*row(*ends), BLOCK) for ends in ROWS]


def test_training_rows_see_what_the_rule_says() -> None:
    lengths, positions, noised = packed()
    attend = training(lengths, positions, noised, BLOCK)
    assert isinstance(attend, SegmentAttention), "the reference runs everywhere"
    assert_same(attend, row_masks(), torch.float32, "cpu")


def test_a_causal_segment_sees_itself_backwards() -> None:
    lengths = [7, 1, 30]
    masks = [torch.ones(length, length).tril().bool() for length in lengths]
    assert_same(causal(lengths), masks, torch.float32, "cpu")


@pytest.mark.parametrize("dim", [8, 16])
def test_the_block_sparse_mask_is_the_rule(dim: int) -> None:
    """FlexAttention without its compiler, which on a CPU knows no gradients."""
    with torch.compiler.set_stance("force_eager"):
        assert_same(BlockSparseAttention(*packed(), BLOCK), row_masks(), torch.float32, "cpu", dim, gradients=False)


def test_tiles_are_skipped_or_taken_whole_as_the_mask_says() -> None:
    lengths, positions, noised = packed()
    dense = torch.block_diag(*row_masks()).bool()
    some, whole = tiles_seen(BlockSparseAttention(lengths, positions, noised, BLOCK).ranges)
    for query, queries in enumerate(dense.split(TILE)):
        for key, pairs in enumerate(queries.split(TILE, dim=1)):
            assert (bool(some[query, key]), bool(whole[query, key])) == (bool(pairs.any()), bool(pairs.all()))
    assert whole.any()
    assert not some.all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dim", [8, 16, 128])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_block_sparse_attention_and_its_gradients_equal_brute_force(dtype: torch.dtype, dim: int) -> None:
    lengths, positions, noised = packed()
    attend = training(lengths, positions.cuda(), noised.cuda(), BLOCK)
    assert isinstance(attend, BlockSparseAttention)
    assert_same(attend, row_masks(), dtype, "cuda", dim)

"""Block geometry: the one place that maps positions to blocks and says who sees whom.

Blocks are counted from position 0 of the sequence, prompt included, in decoding, training and evaluation alike
(spec 2.5; the published trainer counts from the prompt's end instead, defect D4). With block size `b` and a prompt of
`P` tokens, the first `P // b * b` prompt tokens fill whole blocks; the rest of the prompt opens the first denoised
block. An autoregressive model is the case `b = 1`.
"""

from typing import TypeVar

import torch
from torch import Tensor

IntOrTensor = TypeVar("IntOrTensor", int, Tensor)


def block_start(position: IntOrTensor, block_size: int) -> IntOrTensor:
    """First position of the block that holds `position`."""
    return position // block_size * block_size


def block_end(position: IntOrTensor, block_size: int) -> IntOrTensor:
    """One past the last position of the block that holds `position`: what a clean token may see ends here."""
    return block_start(position, block_size) + block_size


def covered(length: int, block_size: int) -> int:
    """Length of the whole blocks that hold the first `length` positions."""
    return -(-length // block_size) * block_size


def clean_mask(query: Tensor, key: Tensor, block_size: int) -> Tensor:
    """Who sees whom among clean tokens: every position sees up to the end of its own block.

    Args:
        query: positions `[..., queries]`.
        key: positions `[..., keys]`.

    Returns:
        bool `[..., queries, keys]`.
    """
    return key.unsqueeze(-2) < block_end(query, block_size).unsqueeze(-1)


def training_mask(positions: Tensor, noised: Tensor, block_size: int) -> Tensor:
    """Who sees whom in a training row `[clean | noised]` (spec 2.2, with blocks counted from position 0).

    A clean token sees clean tokens up to the end of its block. A noised token sees the clean tokens of earlier blocks
    and the noised tokens of its own block, which is what the decoder's denoising forward sees.

    Args:
        positions: position ids `[..., length]`.
        noised: bool `[..., length]`, true in the noised copy.

    Returns:
        bool `[..., length, length]`, true where the row's query may attend to the column's key.
    """
    block = positions // block_size
    query_block, key_block = block.unsqueeze(-1), block.unsqueeze(-2)
    query_noised, key_noised = noised.unsqueeze(-1), noised.unsqueeze(-2)
    own, earlier = key_block == query_block, key_block < query_block
    return (query_noised & key_noised & own) | (~key_noised & (earlier | (own & ~query_noised)))


def training_ranges(positions: Tensor, noised: Tensor, block_size: int) -> Tensor:
    """`training_mask` as two ranges of the row for each token: of clean tokens, and of noised ones.

    Args:
        positions: position ids `[length]`: 0, 1, ... in the clean copy, in front, and whole blocks in the noised one.
        noised: bool `[length]`.

    Returns:
        `[4, length]`: begin and end of the first range, begin and end of the second; a clean token's second is empty.
    """
    clean = (~noised).sum()
    begin = block_start(positions, block_size)
    limit = torch.where(noised, begin, torch.minimum(begin + block_size, clean))
    own = torch.arange(len(positions), device=positions.device) - (positions - begin)
    end = torch.where(noised, own + block_size, own)
    return torch.stack([torch.zeros_like(limit), limit, own, end])

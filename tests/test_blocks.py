"""Block geometry against its definition, spelled out position by position."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from opdlm.blocks import block_end, block_start, clean_mask, covered, training_mask, training_ranges

block_sizes = st.integers(1, 8)


@given(position=st.integers(0, 200), block_size=block_sizes)
def test_a_position_lies_in_its_block(position: int, block_size: int) -> None:
    start, end = block_start(position, block_size), block_end(position, block_size)
    assert start <= position < end
    assert end - start == block_size
    assert start % block_size == 0


@given(length=st.integers(0, 200), block_size=block_sizes)
def test_covered_is_the_shortest_whole_number_of_blocks(length: int, block_size: int) -> None:
    whole = covered(length, block_size)
    assert whole % block_size == 0
    assert length <= whole < length + block_size


@given(length=st.integers(1, 40), block_size=block_sizes)
def test_a_clean_token_sees_its_block_and_all_before(length: int, block_size: int) -> None:
    positions = torch.arange(length)
    mask = clean_mask(positions, positions, block_size)
    for query in range(length):
        for key in range(length):
            assert mask[query, key] == (key // block_size <= query // block_size)


@given(length=st.integers(1, 20))
def test_block_size_one_is_causal(length: int) -> None:
    positions = torch.arange(length)
    assert torch.equal(clean_mask(positions, positions, 1), torch.ones(length, length).tril().bool())


@given(prompt=st.integers(1, 12), answer=st.integers(1, 20), block_size=block_sizes)
def test_a_training_row_shows_each_token_what_the_decoder_would(prompt: int, answer: int, block_size: int) -> None:
    end = covered(prompt + answer, block_size)
    begin = block_start(prompt, block_size)
    row = [(p, False) for p in range(end - block_size)] + [(p, True) for p in range(begin, end)]
    mask = training_mask(torch.tensor([p for p, _ in row]), torch.tensor([n for _, n in row]), block_size)
    for i, (query, query_noised) in enumerate(row):
        for j, (key, key_noised) in enumerate(row):
            if query_noised:
                seen = (
                    key // block_size == query // block_size if key_noised else key // block_size < query // block_size
                )
            else:
                seen = not key_noised and key // block_size <= query // block_size
            assert mask[i, j] == seen


@given(prompt=st.integers(1, 12), answer=st.integers(1, 20), block_size=block_sizes)
def test_two_ranges_say_the_same_of_a_training_row_as_the_mask(prompt: int, answer: int, block_size: int) -> None:
    end = covered(prompt + answer, block_size)
    clean, noised = torch.arange(end - block_size), torch.arange(block_start(prompt, block_size), end)
    positions = torch.cat([clean, noised])
    copies = torch.arange(len(positions)) >= len(clean)
    key = torch.arange(len(positions))
    first, limit, own, last = training_ranges(positions, copies, block_size).unsqueeze(-1)
    seen = ((key >= first) & (key < limit)) | ((key >= own) & (key < last))
    assert torch.equal(seen, training_mask(positions, copies, block_size))

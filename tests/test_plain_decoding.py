"""Decoding against a plain re-computation of every forward."""

import pytest
import torch

from opdlm.blocks import block_start, clean_mask
from opdlm.config.decoding import DecodingSettings
from opdlm.decode.engine import Engine
from opdlm.decode.request import Request
from opdlm.model.attention import SegmentAttention, causal
from opdlm.model.qwen3 import Qwen3
from tests.conftest import END_TOKEN, MASK_TOKEN
from tests.test_engine import GREEDY, decode, prompt


class Recomputed:
    """Logits of a block from one forward over the whole sequence: no cache, nothing to commit."""

    def __init__(self, model: Qwen3) -> None:
        self.model = model

    def commit(self, tokens: list[int]) -> None:
        """Whole blocks of clean tokens."""

    def logits(self, tokens: list[int]) -> torch.Tensor:
        """Of the last block of `tokens`."""
        positions = torch.arange(len(tokens))
        attend = SegmentAttention([len(tokens)], [clean_mask(positions, positions, 4)])
        return self.model.logits(self.model(torch.tensor(tokens), positions, attend)[-4:])


class Unfused:
    """The published scheme (spec 2.5): forwards over the current block, whose keys and values are dropped, and one more
    over the finished block, which keeps them.

    Attributes:
        forwards: how many there were.
    """

    def __init__(self, model: Qwen3) -> None:
        self.model, self.forwards, self.length = model, 0, 0
        kept = torch.empty(0, model.shape.num_key_value_heads, model.shape.head_dim)
        self.kept = [(kept, kept)] * model.shape.num_hidden_layers

    def commit(self, tokens: list[int]) -> None:
        if len(tokens) > self.length:
            self._forward(tokens, keep=True)
            self.length = len(tokens)

    def logits(self, tokens: list[int]) -> torch.Tensor:
        return self.model.logits(self._forward(tokens, keep=False))

    def _forward(self, tokens: list[int], keep: bool) -> torch.Tensor:
        """Hidden states of the tokens that are not kept yet."""
        seen = [[key // 4 <= query // 4 for key in range(len(tokens))] for query in range(self.length, len(tokens))]

        def attend(layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
            both = [torch.cat(pair) for pair in zip(self.kept[layer], (key, value), strict=True)]
            if keep:
                self.kept[layer] = both[0], both[1]
            keys, values = (part.repeat_interleave(query.shape[1] // key.shape[1], dim=1) for part in both)
            scores = torch.einsum("qhd,khd->hqk", query, keys) / query.shape[-1] ** 0.5
            weights = scores.masked_fill(~torch.tensor(seen), -torch.inf).softmax(dim=-1)
            return torch.einsum("hqk,khd->qhd", weights, values)

        self.forwards += 1
        return self.model(torch.tensor(tokens[self.length :]), torch.arange(self.length, len(tokens)), attend)


@torch.no_grad()
def plain_greedy(
    reader: Recomputed | Unfused, start: list[int], limit: int, how: DecodingSettings, end_token: int = END_TOKEN
) -> tuple[list[int], list[int]]:
    """Greedy decoding, one sequence, in blocks of four, without vector code. Returns ids and reveal steps."""
    tokens, step, steps = list(start), 0, dict[int, int]()
    begin = block_start(len(start), 4)
    reader.commit(tokens[:begin])
    while True:
        tokens += [MASK_TOKEN] * (begin + 4 - len(tokens))
        while True:
            logits = reader.logits(tokens)
            logits[:, MASK_TOKEN] = -torch.inf
            certainty, best = (part.tolist() for part in logits.softmax(-1).max(-1))
            masked = [p for p in range(begin, begin + 4) if p >= len(start) and p not in steps]
            step += 1
            order = masked if how.strategy == "sequential" else sorted(masked, key=lambda p: (-certainty[p - begin], p))
            chosen = set(order[: how.tokens_per_step])
            if how.strategy == "dynamic":
                chosen |= {p for p in masked if certainty[p - begin] > how.threshold}
            for position in chosen:
                tokens[position], steps[position] = best[position - begin], step
            ends = [p + 1 for p in steps if tokens[p] == end_token]
            end = min([*ends, len(start) + limit])
            if all(p in steps for p in range(len(start), min(end, begin + 4))):
                break
        begin += 4
        reader.commit(tokens)
        if end <= begin:
            return tokens[len(start) : end], [steps[p] for p in range(len(start), end)]


HOWS = [
    GREEDY,
    DecodingSettings(strategy="static", tokens_per_step=3),
    DecodingSettings(strategy="dynamic", threshold=0.3),
    DecodingSettings(strategy="sequential", tokens_per_step=2),
]


@pytest.mark.parametrize("oracle", [Recomputed, Unfused])
@pytest.mark.parametrize("how", HOWS, ids=lambda how: f"{how.strategy}-{how.tokens_per_step}")
def test_greedy_decoding_equals_the_plain_one(
    student: Qwen3, how: DecodingSettings, oracle: type[Recomputed | Unfused]
) -> None:
    """Without a cache, and with one whose blocks are committed by forwards of their own."""
    for length in [*range(1, 10), 37, 64]:
        [rollout] = decode(student, [Request(prompt(length), 18)], how)
        assert (rollout.ids, rollout.steps) == plain_greedy(oracle(student), prompt(length), 18, how)


@pytest.mark.parametrize(("length", "prefills", "blocks"), [(8, 1, 10), (2, 0, 10), (11, 1, 10)])
def test_a_block_of_four_takes_four_forwards_instead_of_five(
    student: Qwen3, monkeypatch: pytest.MonkeyPatch, length: int, prefills: int, blocks: int
) -> None:
    """The finished block rides along with the next one's first denoising step."""
    unfused, limit = Unfused(student), blocks * 4 - length % 4
    expected = plain_greedy(unfused, prompt(length), limit, GREEDY, end_token=MASK_TOKEN)
    assert unfused.forwards == prefills + limit + blocks
    forwards, original = [], student.forward
    monkeypatch.setattr(student, "forward", lambda ids, *rest: forwards.append(len(ids)) or original(ids, *rest))
    [rollout] = Engine(student, [MASK_TOKEN]).generate([Request(prompt(length), limit)], GREEDY)
    assert (rollout.ids, rollout.steps) == expected
    first = [4] * (4 - length % 4)
    assert forwards == [length // 4 * 4] * prefills + first + [8, 4, 4, 4] * (blocks - 1)


def test_autoregressive_decoding_equals_a_full_forward_per_token(teacher: Qwen3) -> None:
    how = DecodingSettings(strategy="autoregressive")
    requests = [Request(prompt(length), 15) for length in (1, 2, 5, 9)]
    for request, rollout in zip(requests, decode(teacher, requests, how), strict=True):
        ids = list(request.prompt)
        for _ in range(15):
            with torch.no_grad():
                hidden = teacher(torch.tensor(ids), torch.arange(len(ids)), causal([len(ids)]))
            ids.append(int(teacher.logits(hidden[-1:]).argmax()))
            if ids[-1] == END_TOKEN:
                break
        assert rollout.ids == ids[len(request.prompt) :]
        assert rollout.steps == list(range(1, len(rollout.ids) + 1))
        assert rollout.tail_ids == []

"""Drawing tokens and accepting them, against brute force."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from opdlm.config.decoding import DecodingSettings
from opdlm.decode.sampling import draw, uniform
from opdlm.decode.strategy import Dynamic, Sequential, Static


def settings(**values: float) -> DecodingSettings:
    return DecodingSettings(strategy="static", **values)


def random_logits(rows: int, vocabulary: int = 12) -> torch.Tensor:
    return torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(0)) * 2


def support(logits: torch.Tensor, how: DecodingSettings) -> set[int]:
    """Tokens that are ever drawn from one row of logits."""
    count = 20000
    uniforms = (torch.arange(count) + 0.5) / count
    tokens, _ = draw(logits.expand(count, -1), how, uniforms, None)
    return set(tokens.tolist())


def test_temperature_zero_takes_the_most_likely_token() -> None:
    logits = random_logits(50)
    tokens, _ = draw(logits, settings(temperature=0.0), torch.rand(50), None)
    assert torch.equal(tokens, logits.argmax(-1))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_tempered_distribution(temperature: float) -> None:
    logits = random_logits(1)
    count = 200_000
    uniforms = (torch.arange(count) + 0.5) / count
    tokens, _ = draw(logits.expand(count, -1), settings(temperature=temperature), uniforms, None)
    expected = torch.from_numpy(np.exp(logits[0].double().numpy() / temperature))
    torch.testing.assert_close(
        torch.bincount(tokens, minlength=12).double() / count, expected / expected.sum(), atol=1e-4, rtol=0
    )


def test_confidence_is_the_unfiltered_probability_at_temperature_one() -> None:
    logits = random_logits(40)
    tokens, confidence = draw(logits, settings(temperature=3.0, top_k=4), torch.rand(40), None)
    expected = logits.double().softmax(-1).gather(-1, tokens[:, None]).squeeze(-1)
    torch.testing.assert_close(confidence.double(), expected, atol=1e-6, rtol=1e-5)


def test_confidence_is_computed_in_fp32_from_half_precision_logits() -> None:
    logits = random_logits(40).bfloat16()
    _, confidence = draw(logits, settings(), torch.rand(40), None)
    torch.testing.assert_close(confidence, logits.float().softmax(-1).amax(-1))


def test_confidence_does_not_lose_digits_to_the_size_of_the_logits() -> None:
    logits = torch.tensor([[30.0, 15.0, 0.0], [30.0, 14.0, 0.0]])
    _, confidence = draw(logits, settings(), torch.zeros(2), None)
    torch.testing.assert_close(1 - confidence.double(), 1 - logits.double().softmax(-1)[:, 0], rtol=0.2, atol=1e-8)


@pytest.mark.parametrize("k", [1, 3, 12, 50])
def test_top_k_draws_from_the_k_most_likely(k: int) -> None:
    logits = random_logits(1)
    assert support(logits, settings(temperature=5.0, top_k=k)) == set(logits[0].topk(min(k, 12)).indices.tolist())


@pytest.mark.parametrize("p", [0.01, 0.3, 0.7, 0.95])
def test_top_p_draws_from_the_smallest_set_that_reaches_p(p: float) -> None:
    logits = random_logits(1)
    order = logits[0].argsort(descending=True)
    cumulative = logits[0].softmax(-1)[order].cumsum(0)
    needed = int((cumulative < p).sum()) + 1
    assert support(logits, settings(temperature=1.0, top_p=p)) == set(order[:needed].tolist())


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_forbidden_token_is_never_drawn(temperature: float) -> None:
    logits = torch.zeros(1, 5)
    logits[0, 2] = 30
    tokens, confidence = draw(logits.expand(1000, -1), settings(temperature=temperature), torch.rand(1000), 2)
    assert 2 not in tokens
    torch.testing.assert_close(confidence, torch.full((1000,), 0.25))


def test_uniforms_are_uniform_and_depend_on_every_argument() -> None:
    seeds = torch.arange(40)[:, None, None] * 7919 + 2**40
    values = uniform(seeds, torch.arange(50)[None, :, None], torch.arange(1, 26)[None, None, :])
    assert values.min() >= 0
    assert values.max() < 1
    counts = torch.histc(values, bins=20, min=0, max=1)
    expected = values.numel() / 20
    assert ((counts - expected) ** 2 / expected).sum() < 43.8, "chi-square at 0.1 %, 19 degrees of freedom"
    for axis in range(3):
        shifted = torch.corrcoef(torch.stack([values.roll(1, axis).flatten(), values.flatten()]))[0, 1]
        assert abs(shifted) < 0.02
    assert values.unique().numel() > 0.99 * values.numel()


blocks = st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=1, max_size=8)


@given(block=blocks, tokens=st.integers(1, 8))
def test_static_reveals_the_most_confident(block: list[tuple[float, bool]], tokens: int) -> None:
    confidence, masked = torch.tensor([[c for c, _ in block]]), torch.tensor([[m for _, m in block]])
    order = sorted((p for p, (_, m) in enumerate(block) if m), key=lambda p: (-block[p][0], p))
    assert Static(tokens).accept(confidence, masked)[0].nonzero().flatten().tolist() == sorted(order[:tokens])


@given(block=blocks, tokens=st.integers(1, 8), threshold=st.floats(0, 1, width=32))
def test_dynamic_adds_all_above_the_threshold(block: list[tuple[float, bool]], tokens: int, threshold: float) -> None:
    confidence, masked = torch.tensor([[c for c, _ in block]]), torch.tensor([[m for _, m in block]])
    static = Static(tokens).accept(confidence, masked)[0]
    accepted = Dynamic(threshold, tokens).accept(confidence, masked)[0]
    assert accepted.tolist() == [m and (c > threshold or bool(s)) for (c, m), s in zip(block, static, strict=True)]


@given(block=blocks, tokens=st.integers(1, 8))
def test_sequential_reveals_from_the_left(block: list[tuple[float, bool]], tokens: int) -> None:
    confidence, masked = torch.tensor([[c for c, _ in block]]), torch.tensor([[m for _, m in block]])
    expected = [p for p, (_, m) in enumerate(block) if m][:tokens]
    assert Sequential(tokens).accept(confidence, masked)[0].nonzero().flatten().tolist() == expected

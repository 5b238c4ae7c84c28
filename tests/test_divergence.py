"""Losses and their gradients against naive double precision."""

import numpy as np
import pytest
import torch

from opdlm.config.training import DivergenceSettings
from opdlm.distill import divergence as module
from opdlm.distill.divergence import chunked_loss, divergence, negative_log_likelihood

SETTINGS = [
    DivergenceSettings(),
    DivergenceSettings(reverse_weight=1.0),
    DivergenceSettings(reverse_weight=0.3),
    DivergenceSettings(kind="jsd", alpha=0.5),
    DivergenceSettings(kind="jsd", alpha=0.2),
    DivergenceSettings(top_k=5),
    DivergenceSettings(top_k=5, reverse_weight=1.0),
    DivergenceSettings(top_k=5, kind="jsd"),
    DivergenceSettings(top_k=100),
]


def logits(rows: int, seed: int, vocabulary: int = 30) -> torch.Tensor:
    return torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3


def naive(student: np.ndarray, teacher: np.ndarray, settings: DivergenceSettings) -> float:
    """One position, written out term by term."""
    p = np.exp(teacher) / np.exp(teacher).sum()
    q = np.exp(student) / np.exp(student).sum()
    kept = np.argsort(-p)[: settings.top_k or len(p)]
    total = 0.0
    for v in kept:
        if settings.kind == "jsd":
            m = settings.alpha * p[v] + (1 - settings.alpha) * q[v]
            total += settings.alpha * p[v] * np.log(p[v] / m) + (1 - settings.alpha) * q[v] * np.log(q[v] / m)
        else:
            w = settings.reverse_weight
            total += (1 - w) * p[v] * np.log(p[v] / q[v]) + w * q[v] * np.log(q[v] / p[v])
    return float(total)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_divergences_equal_their_definition(settings: DivergenceSettings) -> None:
    student, teacher = logits(20, 1), logits(20, 2)
    expected = [naive(s, t, settings) for s, t in zip(student.numpy(), teacher.numpy(), strict=True)]
    actual = divergence(student.float(), teacher.float(), settings)
    torch.testing.assert_close(actual.double(), torch.tensor(expected, dtype=torch.float64), atol=2e-6, rtol=2e-5)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_gradients_equal_finite_differences_of_the_definition(settings: DivergenceSettings) -> None:
    student, teacher = logits(1, 3, 8), logits(1, 4, 8)
    leaf = student.float().requires_grad_()
    divergence(leaf, teacher.float(), settings).sum().backward()
    for v in range(8):
        shift = np.zeros(8)
        shift[v] = 1e-6
        up, down = (naive(student.numpy()[0] + sign * shift, teacher.numpy()[0], settings) for sign in (1, -1))
        assert leaf.grad is not None
        assert leaf.grad[0, v].item() == pytest.approx((up - down) / 2e-6, abs=2e-5)


def test_a_teacher_probability_of_zero_contributes_nothing() -> None:
    teacher = logits(1, 5)
    teacher[0, 3] = -torch.inf
    student = logits(1, 6).float().requires_grad_()
    value = divergence(student, teacher.float(), DivergenceSettings())
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(student.grad).all()


def test_equal_distributions_have_no_divergence() -> None:
    same = logits(5, 7).float()
    for settings in SETTINGS:
        torch.testing.assert_close(divergence(same, same + 2.5, settings), torch.zeros(5), atol=1e-6, rtol=0)


@pytest.mark.parametrize("positions", [0, 1, 7, 8, 19])
def test_chunked_loss_and_gradients_equal_the_whole(positions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 8)
    generator = torch.Generator().manual_seed(0)
    teacher = logits(positions, 8).float()
    weights = torch.rand(positions, generator=generator)
    hidden = torch.randn(positions, 6, generator=generator).requires_grad_()
    head = torch.randn(30, 6, generator=generator).requires_grad_()
    settings = DivergenceSettings(reverse_weight=0.5)

    whole = (divergence(hidden @ head.T, teacher, settings) * weights).sum()
    expected = torch.autograd.grad(3 * whole, [hidden, head])
    chunked = chunked_loss(
        hidden, head, lambda scores, chunk: (divergence(scores, teacher[chunk], settings) * weights[chunk]).sum()
    )
    actual = torch.autograd.grad(3 * chunked, [hidden, head])
    torch.testing.assert_close(chunked, whole.detach())
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, e, atol=1e-6, rtol=1e-5)


def test_chunked_loss_never_holds_all_logits() -> None:
    sizes = []
    hidden, head = torch.randn(5000, 4, requires_grad=True), torch.randn(30, 4, requires_grad=True)

    def loss(scores: torch.Tensor, chunk: slice) -> torch.Tensor:
        sizes.append(len(scores))
        return negative_log_likelihood(scores, torch.zeros(len(scores), dtype=torch.int64)).sum()

    chunked_loss(hidden, head, loss).backward()
    assert max(sizes) == module.CHUNK
    assert sum(sizes) == 5000

"""The optimiser works in fp32, whatever the weights are kept in."""

import gc
import math
import weakref

import pytest
import torch
from torch import Tensor, nn

from opdlm.config.training import OptimiserSettings
from opdlm.distill.host_gradients import HostGradients
from opdlm.distill.optimiser import Optimiser
from opdlm.distill.ranks import Ranks

SETTINGS = OptimiserSettings(lr=1e-4, warmup_rollouts=0)


def weights(dtype: torch.dtype) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(size, generator=generator).bfloat16().to(dtype)) for size in ((3, 4), (5,))]


def train(optimiser: Optimiser, steps: int, first: int = 0) -> None:
    """Updates of three micro-batches each, with gradients that are the same in every precision."""
    for step in range(first, first + steps):
        for part in range(3):
            for index, weight in enumerate(optimiser.weights):
                generator = torch.Generator().manual_seed(100 * step + 10 * part + index)
                push(optimiser, weight, torch.randn(weight.shape, generator=generator).bfloat16())
        optimiser.step(1e-4)


def push(optimiser: Optimiser, weight: nn.Parameter, gradient: Tensor) -> None:
    """Give a weight this gradient, by way of a loss that has it."""
    optimiser.backward(lambda: (weight * gradient.to(weight.dtype)).sum())


def test_bf16_weights_follow_their_fp32_masters() -> None:
    full, half = weights(torch.float32), weights(torch.bfloat16)
    in_full, in_half = (Optimiser(nn.ParameterList(kept), SETTINGS, Ranks()) for kept in (full, half))
    train(in_full, 200)
    train(in_half, 200)
    for weight, master, expected in zip(half, in_half.masters, full, strict=True):
        torch.testing.assert_close(master.data, expected.data, atol=1e-6, rtol=0)
        assert torch.equal(weight, master.bfloat16())


def test_updates_too_small_for_bf16_add_up() -> None:
    weight = nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
    optimiser = Optimiser(nn.ParameterList([weight]), SETTINGS, Ranks())
    for _ in range(300):
        push(optimiser, weight, torch.ones(1))
        optimiser.step(1e-4)
    assert weight.item() == pytest.approx(1 - 300 * 1e-4, abs=4e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_resumed_optimiser_goes_on_bit_for_bit(dtype: torch.dtype) -> None:
    undisturbed, stopped = weights(dtype), weights(dtype)
    train(Optimiser(nn.ParameterList(undisturbed), SETTINGS, Ranks()), 10)
    before = Optimiser(nn.ParameterList(stopped), SETTINGS, Ranks())
    train(before, 6)
    resumed = [nn.Parameter(weight.detach().clone()) for weight in stopped]
    after = Optimiser(nn.ParameterList(resumed), SETTINGS, Ranks())
    after.load_state_dict(before.state_dict())
    train(after, 4, first=6)
    for weight, expected in zip(resumed, undisturbed, strict=True):
        assert torch.equal(weight, expected)


def test_gradients_are_clipped_over_all_weights() -> None:
    kept = weights(torch.bfloat16)
    optimiser = Optimiser(nn.ParameterList(kept), SETTINGS, Ranks())
    for weight in kept:
        push(optimiser, weight, torch.full(weight.shape, 2.0))
    count, taken = sum(weight.numel() for weight in kept), []
    optimiser.adamw.step = lambda: taken.extend(master.grad for master in optimiser.masters)  # type: ignore
    assert optimiser.step(1e-4) == pytest.approx(2 * count**0.5)
    clipped = torch.cat([gradient.flatten() for gradient in taken])
    assert clipped.norm().item() == pytest.approx(SETTINGS.max_grad_norm, rel=1e-4)


@pytest.mark.parametrize("kind", [Optimiser, HostGradients])
def test_gradients_that_are_not_finite_change_nothing(kind: type[Optimiser]) -> None:
    kept = weights(torch.bfloat16)
    optimiser = kind(nn.ParameterList(kept), SETTINGS, Ranks())
    push(optimiser, kept[0], torch.full(kept[0].shape, torch.inf))
    assert not math.isfinite(optimiser.step(1e-4))
    train(optimiser, 1)
    fresh = weights(torch.bfloat16)
    train(Optimiser(nn.ParameterList(fresh), SETTINGS, Ranks()), 1)
    for weight, expected in zip(kept, fresh, strict=True):
        assert torch.equal(weight, expected)


class TwoAlike(Ranks):
    """This process and another one with the same gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.world = 2

    def sum(self, values: Tensor) -> Tensor:
        return values.mul_(2)


@pytest.mark.parametrize("ranks", [Ranks, TwoAlike])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_that_wait_on_the_host_teach_the_same_bit_for_bit(dtype: torch.dtype, ranks: type[Ranks]) -> None:
    here, there = weights(dtype), weights(dtype)
    plain, hosted = (
        kind(nn.ParameterList(kept), SETTINGS, ranks()) for kind, kept in ((Optimiser, here), (HostGradients, there))
    )
    for optimiser in (plain, hosted):
        train(optimiser, 10)
    assert all(map(torch.equal, here, there))
    assert all(map(torch.equal, plain.masters, hosted.masters))
    push(hosted, there[0], torch.ones(there[0].shape))
    assert all(weight.grad is None for weight in (*there, *hosted.masters))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", [Optimiser, HostGradients])
def test_what_nobody_needs_any_more_is_freed(kind: type[Optimiser], dtype: torch.dtype) -> None:
    kept = weights(dtype)
    optimiser = kind(nn.ParameterList(kept), SETTINGS, Ranks())
    train(optimiser, 1)
    watched = [weakref.ref(optimiser), *map(weakref.ref, kept)]
    del optimiser, kept
    gc.collect()
    assert not any(reference() is not None for reference in watched)

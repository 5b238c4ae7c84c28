"""Schedules against the tables of the specification (5.2, 5.3, 5.4)."""

import math

import pytest

from opdlm.config.training import Ramp
from opdlm.distill.prompts import order
from opdlm.distill.schedules import max_tokens, ramp, warmup_cosine

UPDATES_PER_ROLLOUT = 16
ROLLOUTS = math.ceil(61_816 / 128)
TOTAL = UPDATES_PER_ROLLOUT * ROLLOUTS + 1
WARMUP = 5 * UPDATES_PER_ROLLOUT


def test_the_published_general_run_has_483_rollouts_and_7729_scheduler_steps() -> None:
    assert (ROLLOUTS, TOTAL) == (483, 7729)


@pytest.mark.parametrize(
    ("update", "rate"),
    [(0, 0.0), (1, 1e-5 / 80), (40, 5e-6), (80, 1e-5), (TOTAL, 1e-6), ((TOTAL + 80) // 2, 5.5e-6)],
)
def test_learning_rate_of_the_published_runs(update: int, rate: float) -> None:
    assert 1e-5 * warmup_cosine(update, WARMUP, TOTAL, 0.1) == pytest.approx(rate, abs=2e-9)


@pytest.mark.parametrize(
    ("end", "steps", "values"),
    [
        (4000, 100, {1: 100, 10: 148, 20: 292, 50: 1244, 80: 2796, 100: 4000, 480: 4000}),
        (2000, 100, {50: 656, 100: 2000}),
        (8000, 200, {50: 700, 100: 2412, 150: 4976, 200: 8000}),
    ],
)
def test_longest_answer_of_the_published_runs(end: int, steps: int, values: dict[int, int]) -> None:
    settings = Ramp(start=100, end=end, steps=steps)
    assert {rollout: max_tokens(settings, rollout, 4) for rollout in values} == values


def test_mean_longest_answer_over_the_ramp_is_the_published_one() -> None:
    settings = Ramp(start=100, end=4000, steps=100)
    assert sum(max_tokens(settings, rollout, 4) for rollout in range(1, 101)) / 100 == pytest.approx(1537, abs=1)


def test_lengths_are_whole_blocks_and_never_zero() -> None:
    settings = Ramp(start=1, end=50, steps=7, shape="linear")
    for block_size in (1, 4, 8, 16):
        for rollout in range(1, 12):
            value = max_tokens(settings, rollout, block_size)
            assert value % block_size == 0
            assert value >= block_size


@pytest.mark.parametrize(("shape", "middle"), [("linear", 0.8), ("sin", 0.758579), ("cos", 0.841421)])
def test_threshold_holds_and_then_falls_along_its_shape(shape: str, middle: float) -> None:
    settings = Ramp(start=0.9, end=0.7, steps=100, hold=150, shape=shape)  # type: ignore[arg-type]
    assert [ramp(settings, i) for i in (1, 150)] == [0.9, 0.9]
    assert ramp(settings, 200) == pytest.approx(middle, abs=1e-5)
    assert ramp(settings, 250) == ramp(settings, 400) == pytest.approx(0.7)


def test_every_epoch_uses_every_prompt_once_in_its_own_order() -> None:
    first, second = order(50, 1, 0, 50), order(50, 1, 50, 50)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second


def test_the_order_is_a_function_of_seed_and_place() -> None:
    whole = order(50, 7, 0, 200)
    assert [index for begin in range(0, 200, 23) for index in order(50, 7, begin, 23)][:200] == whole
    assert order(50, 8, 0, 50) != whole[:50]

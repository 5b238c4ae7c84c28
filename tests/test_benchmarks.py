"""The decoding benchmark: its floors against numbers found elsewhere, its models, its script, and a tiny run of it.

The expected floors are those of an independent hand computation (one H200: 731 TFLOP/s, 4.23 TB/s; 128 sequences,
prompts of 192 tokens), with the LM head on all rows.
"""

import csv
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from opdlm.model.attention import causal
from tests.conftest import assert_close

SEQUENCES, PROMPT = 128, 192


@pytest.fixture(scope="module")
def rollout() -> Iterator[ModuleType]:
    """The benchmark as a script sees it, the modules beside it importable."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
        yield importlib.import_module("rollout")


@pytest.fixture(scope="module")
def floors(rollout: ModuleType) -> ModuleType:
    return importlib.import_module("floors")


@pytest.fixture(scope="module")
def ceilings(rollout: ModuleType) -> ModuleType:
    return importlib.import_module("ceilings")


@pytest.mark.parametrize(
    ("name", "new_tokens", "block", "thousands"),
    [
        ("0.6B", 512, 4, 53.5),
        ("0.6B", 2048, 4, 25.3),
        ("1.7B", 256, 4, 36.3),
        ("1.7B", 512, 4, 32.3),
        ("4B", 256, 4, 18.1),
        ("4B", 512, 4, 16.8),
        ("8B", 512, 4, 10.2),
        ("8B", 2048, 4, 7.98),
        ("0.6B", 512, 1, 69.6),
        ("0.6B", 2048, 1, 28.4),
        ("1.7B", 256, 1, 66.5),
        ("4B", 512, 1, 32.8),
        ("8B", 512, 1, 22.9),
        ("8B", 2048, 1, 14.2),
    ],
)
def test_floors_are_those_of_the_hand_computation(
    floors: ModuleType, name: str, new_tokens: int, block: int, thousands: float
) -> None:
    h200 = floors.Ceilings(flops=731e12, bandwidth=4.23e12)
    work = floors.forward_work(floors.SHAPES[name], SEQUENCES, block, PROMPT + new_tokens / 2)
    floor = floors.floor_tokens_per_second(work, h200, SEQUENCES, tokens_per_step=1)
    assert floor == pytest.approx(thousands * 1000, rel=0.01)


@pytest.mark.parametrize(
    ("name", "weights", "keys_and_values", "arithmetic"),
    [("0.6B", 1.19e9, 6.58e9, 0.61e12), ("4B", 8.04e9, 8.46e9, 4.12e12), ("8B", 15.14e9, 8.46e9, 7.75e12)],
)
def test_bytes_and_arithmetic_are_those_of_the_hand_computation(
    floors: ModuleType, name: str, weights: float, keys_and_values: float, arithmetic: float
) -> None:
    work = floors.forward_work(floors.SHAPES[name], SEQUENCES, 4, PROMPT + 256)
    assert work.linears.traffic + work.head.traffic == pytest.approx(weights, rel=0.01)
    assert work.attention.traffic == pytest.approx(keys_and_values, rel=0.01)
    assert work.linears.flops + work.head.flops == pytest.approx(arithmetic, rel=0.01)


def test_linear_parameters_are_those_of_the_model(rollout: ModuleType, floors: ModuleType) -> None:
    model = rollout.random_model(floors.SHAPES["tiny"], torch.device("cpu"))
    projections = [weight for name, weight in model.named_parameters() if "proj" in name]
    assert floors.linear_parameters(model.shape) == sum(weight.numel() for weight in projections)


def test_the_models_share_one_set_of_weights(rollout: ModuleType, floors: ModuleType) -> None:
    model = rollout.random_model(floors.SHAPES["tiny"], torch.device("cpu"))
    names = dict(model.named_parameters(remove_duplicate=False))
    assert names["lm_head.weight"] is names["model.embed_tokens.weight"]
    assert 0.019 < float(names["lm_head.weight"].std()) < 0.021
    assert all(bool((weight == 1).all()) for name, weight in names.items() if name.endswith("norm.weight"))
    for other in (*(rollout.variant(model, way) for way in rollout.WAYS.values()), rollout.transformers_model(model)):
        shared = dict(other.named_parameters(remove_duplicate=False))
        assert shared.keys() == names.keys()
        assert all(shared[name] is weight for name, weight in names.items())


@torch.no_grad()
def test_the_reference_computes_the_same(rollout: ModuleType, floors: ModuleType) -> None:
    model = rollout.random_model(floors.SHAPES["tiny"], torch.device("cpu"))
    ids = torch.tensor(rollout.random_prompts(model.shape, 1, 30)[0])
    ours = model.logits(model(ids, torch.arange(30), causal([30])))
    assert_close(ours, rollout.transformers_model(model)(ids[None]).logits[0])


def test_scripted_acceptance_reveals_1_9_tokens_a_step_of_a_block_of_4(rollout: ModuleType) -> None:
    script, generator = rollout.WAYS["dynamic"].script, torch.Generator().manual_seed(0)
    masked, steps = torch.ones(20_000, 4, dtype=torch.bool), 0
    while masked.any():
        confidence = torch.randn(*masked.shape, 50, generator=generator).softmax(dim=-1)[..., 0]
        accepted = script.accept(confidence, masked)
        assert not (accepted & ~masked).any()
        rows = masked.any(dim=-1)
        best = confidence.masked_fill(~masked, -1).argmax(dim=-1, keepdim=True)
        assert accepted.gather(-1, best)[rows].all()
        steps += int(rows.sum())
        masked &= ~accepted
    assert 4 * 20_000 / steps == pytest.approx(1.90, abs=0.02)


def test_a_row_compares_the_same_forwards_with_the_floor(rollout: ModuleType, floors: ModuleType) -> None:
    model = rollout.random_model(floors.SHAPES["tiny"], torch.device("cpu"))
    case = rollout.Case("tiny", rollout.WAYS["dynamic"], sequences=2, prompt_tokens=8, new_tokens=16, waves=1)
    limits = floors.Ceilings(flops=1e9, bandwidth=1e9)
    timing = rollout.Timing(seconds=[1.0, 2.0, 3.0], tokens=32, steps=[6, 10])
    row = rollout.make_row(case, timing, limits, 4.0, model)
    work = floors.forward_work(model.shape, 2, 4, context=16)
    assert (row.tokens_per_second, row.ratio_to_reference, row.ms_per_forward) == (16, 4, 200)
    assert (row.forwards_per_token, row.tokens_per_step) == (0.5, 2)
    # 8 forwards an answer, in 2 s.
    assert row.fraction_of_floor == pytest.approx(8 * work.seconds(limits) / 2)
    assert row.tflops == pytest.approx(8 * work.flops / 2 / 1e12)
    assert row.gbps == pytest.approx(8 * work.traffic / 2 / 1e9)
    assert "scripted acceptance" in rollout.line(row, timing)


def test_the_kernel_table_lists_the_longest_first(ceilings: ModuleType) -> None:
    kernels = [ceilings.Kernel("short", 10, 0.001), ceilings.Kernel("long", 2, 0.004)]
    table = ceilings.kernel_table(kernels, wall=0.010).splitlines()
    assert [text.split() for text in table[1:3]] == [
        ["4.00", "2", "2000.00", "long"],
        ["1.00", "10", "100.00", "short"],
    ]
    assert table[3] == "12 kernels ran 5.0 ms of 10.0 ms: GPU busy 50.0%"


def test_running_out_of_memory_does_not_end_the_run(rollout: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(error: Exception) -> None:
        raise error

    assert rollout.surviving(lambda: fail(torch.OutOfMemoryError("CUDA out of memory.")), "8B") is None
    assert capsys.readouterr().out == "8B  out of memory\n"
    with pytest.raises(RuntimeError, match="other"):
        rollout.surviving(lambda: fail(RuntimeError("other")), "8B")


def test_a_tiny_run_appends_its_rows(rollout: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "rollout.csv"
    common = ["--prompt-tokens", "8", "--new-tokens", "16", "--repeats", "1", "--reference-tokens", "4"]
    rollout.main([*common, "--sequences", "1", "3", "--csv", str(table), "--divergence"])
    rollout.main([*common, "--sequences", "2", "--csv", str(table), "--strategy", "static"])
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    ways = ["static", "dynamic (scripted acceptance)", "autoregressive"]
    assert [(row["sequences"], row["strategy"]) for row in rows] == [
        *(("1", way) for way in ways),
        *(("3", way) for way in ways),
        ("2", "static"),
    ]
    for row in rows:
        assert not row["tokens_per_second"], "a CPU has no absolute numbers"
        assert float(row["ratio_to_reference"]) > 0
        assert (float(row["tokens_per_step"]) == 1) == ("dynamic" not in row["strategy"])
    assert " of 3 (" in capsys.readouterr().out

"""The benchmarks: floors against numbers found elsewhere, models, linear layers and memory.

The expected floors are those of an independent hand computation (one H200: 731 TFLOP/s, 4.23 TB/s; 128 sequences,
prompts of 192 tokens), with the LM head on all rows.
"""

from types import ModuleType

import pytest
import torch

from opdlm.model.attention import causal
from tests import benchmarks
from tests.benchmarks import CPU, Benchmarks
from tests.conftest import assert_close

modules, floors = benchmarks.modules, benchmarks.floors

SEQUENCES, PROMPT = 128, 192


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


def test_linear_parameters_are_those_of_the_model(modules: Benchmarks, floors: ModuleType) -> None:
    model = modules.models.random_model(floors.SHAPES["tiny"], CPU)
    projections = [weight for name, weight in model.named_parameters() if "proj" in name]
    assert floors.linear_parameters(model.shape) == sum(weight.numel() for weight in projections)


def test_the_models_share_one_set_of_weights(modules: Benchmarks, floors: ModuleType) -> None:
    models = modules.models
    model = models.random_model(floors.SHAPES["tiny"], CPU)
    names = dict(model.named_parameters(remove_duplicate=False))
    assert names["lm_head.weight"] is names["model.embed_tokens.weight"]
    assert 0.019 < float(names["lm_head.weight"].std()) < 0.021
    assert all(bool((weight == 1).all()) for name, weight in names.items() if name.endswith("norm.weight"))
    for other in (models.variant(model, 4), models.variant(model, 1), models.transformers_model(model)):
        shared = dict(other.named_parameters(remove_duplicate=False))
        assert shared.keys() == names.keys()
        assert all(shared[name] is weight for name, weight in names.items())


@torch.no_grad()
def test_the_reference_computes_the_same(modules: Benchmarks, floors: ModuleType) -> None:
    model = modules.models.random_model(floors.SHAPES["tiny"], CPU)
    ids = torch.tensor(modules.models.random_prompts(model.shape, 1, 30)[0])
    ours = model.logits(model(ids, torch.arange(30), causal([30])))
    assert_close(ours, modules.models.transformers_model(model)(ids[None]).logits[0])


# Linear layers, and memory


def test_linears_are_those_of_the_fused_forward(modules: Benchmarks, floors: ModuleType) -> None:
    for shape in floors.SHAPES.values():
        each = sum(matrix.inputs * matrix.outputs for matrix in modules.linears.layer_matrices(shape))
        assert shape.num_hidden_layers * each == floors.linear_parameters(shape)
    layers, head = (
        modules.linears.linears(floors.SHAPES["tiny"], CPU),
        modules.linears.lm_head(floors.SHAPES["tiny"], CPU),
    )
    work = floors.forward_work(floors.SHAPES["tiny"], 2, 4, context=1)
    assert (layers.work(8), head.work(8)) == (work.linears, work.head)
    assert sum(layers.part(index).work(8).flops for index in range(4)) == work.linears.flops


def test_linears_print_a_line_for_each_number_of_tokens(
    modules: Benchmarks, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    linears = modules.linears
    linears.main(["--device", "cpu", "--tokens", "4", "6", "--parts"])
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [text.split()[:3] for text in lines[::2]] == [["tiny", "4", "tokens"], ["tiny", "6", "tokens"]]
    assert lines[1].count("GFLOP") == 4
    monkeypatch.setattr(linears.Products, "seconds", lambda self, tokens: tokens * 1e-3 + (tokens == 5) * 1e-3)
    linears.measure("tiny", [4, 5, 6, 10], False, modules.floors.Ceilings(1e9, 1e9), CPU)
    lines = capsys.readouterr().out.splitlines()
    assert "  4.000 ms " in lines[0]
    assert "of floor" in lines[0]
    assert lines[4:] == ["tiny n = 1: 4 and 6 tokens 10.000 ms, twice 5 12.000 ms, +20.0%"]


def test_rollouts_and_training_steps_alternate(modules: Benchmarks, capsys: pytest.CaptureFixture[str]) -> None:
    alternate = modules.alternate
    alternate.main(["--alternations", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert [text.split(":")[0] for text in lines[1:]] == ["after    0", "after    1", "after    2"]
    assert alternate.growth((5, 7), (5, 2007), 16, 200) == (
        "growth from 16 to 200: allocated +0 bytes, reserved +2,000"
    )

"""Low-rank adapters: what is trained, what is decoded with, what is saved, and what a resumed run takes up."""

import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from opdlm.config.training import LoraSettings, OptimiserSettings
from opdlm.distill.lora import Adapters
from opdlm.distill.optimiser import Optimiser
from opdlm.distill.ranks import Ranks
from opdlm.errors import TrainingError
from opdlm.model.attention import causal
from opdlm.model.checkpoint import load_model, save_model
from opdlm.model.qwen3 import Qwen3
from tests.conftest import assert_close, make_model

SOME = LoraSettings(rank=4, alpha=8, targets=["q_proj", "v_proj", "down_proj"])
IDS = torch.arange(12)


def logits(model: Qwen3) -> Tensor:
    return model.logits(model(IDS, torch.arange(12), causal([12])))


def optimiser(adapters: Adapters) -> Optimiser:
    return Optimiser(adapters.parameters, OptimiserSettings(), Ranks())


def train(adapters: Adapters, optimiser: Optimiser, updates: int) -> None:
    for _ in range(updates):
        logits(adapters.student).log_softmax(-1)[:, 3].mean().neg().backward()
        optimiser.step(1e-2)


@pytest.fixture
def trained() -> Adapters:
    adapters = Adapters(make_model(), SOME, seed=1)
    train(adapters, optimiser(adapters), 3)
    return adapters


@torch.no_grad()
def test_new_adapters_change_nothing() -> None:
    adapters = Adapters(make_model(), SOME, seed=1)
    assert torch.equal(logits(adapters.student), logits(make_model()))
    for name, tensor in make_model().state_dict().items():
        assert torch.equal(adapters.whole_student().state_dict()[name], tensor)


def test_adapters_alone_are_trained(trained: Adapters) -> None:
    assert len(trained.parameters) == 2 * 2 * 3, "two matrices at three projections of two layers"
    before = make_model().state_dict()
    for name, tensor in trained.student.state_dict().items():
        if ".lora_" not in name:
            assert torch.equal(tensor, before[name.replace(".base_layer.", ".")])


@torch.no_grad()
def test_the_whole_student_computes_what_the_trained_one_does(trained: Adapters) -> None:
    whole = trained.whole_student()
    assert_close(logits(whole), logits(trained.student))
    assert not torch.allclose(logits(whole), logits(make_model()))
    names = [f"model.layers.{layer}.{name}.weight" for layer in (0, 1) for name in ("self_attn.k_proj", "mlp.up_proj")]
    assert all(torch.equal(whole.state_dict()[name], make_model().state_dict()[name]) for name in names)


@pytest.mark.parametrize("tied", [True, False])
def test_the_whole_student_is_saved_as_a_plain_model(tmp_path: Path, tied: bool) -> None:
    adapters = Adapters(make_model(tied=tied), SOME, seed=1)
    whole = adapters.whole_student()
    assert whole.state_dict().keys() == make_model(tied=tied).state_dict().keys()
    save_model(tmp_path, whole, adapters.student.shape.model_dump(mode="json"))
    saved = load_model(tmp_path).state_dict()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in whole.state_dict().items())


def test_weights_that_the_decoder_moves_stay_where_they_are_in_the_student(trained: Adapters) -> None:
    """On a CUDA device it lays projections side by side, by giving their parameters other memory."""
    weights = [parameter.data_ptr() for parameter in trained.student.parameters()]
    for parameter in trained.whole_student().parameters():
        parameter.data = parameter.data.clone()
    assert [parameter.data_ptr() for parameter in trained.student.parameters()] == weights


def test_training_goes_on_bit_for_bit(trained: Adapters) -> None:
    undisturbed, stopped = (Adapters(make_model(), SOME, seed=1) for _ in range(2))
    train(undisturbed, optimiser(undisturbed), 5)
    first = optimiser(stopped)
    train(stopped, first, 2)
    resumed = Adapters(make_model(), SOME, seed=2)
    resumed.load_state_dict(stopped.state_dict())
    second = optimiser(resumed)
    second.load_state_dict(first.state_dict())
    train(resumed, second, 3)
    for name, tensor in undisturbed.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor)


def test_the_same_seed_gives_the_same_adapters() -> None:
    one, same, other = (Adapters(make_model(), SOME, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_in_bf16_the_optimiser_holds_masters_of_the_adapters() -> None:
    adapters = Adapters(make_model().to(torch.bfloat16), SOME, seed=1)
    adamw = optimiser(adapters)
    train(adapters, adamw, 1)
    assert len(adamw.state_dict()["masters"]) == len(adapters.parameters)
    assert {parameter.dtype for parameter in adapters.parameters} == {torch.bfloat16}
    assert {tensor.dtype for tensor in adapters.whole_student().state_dict().values()} == {torch.bfloat16}


def test_other_adapters_are_refused(trained: Adapters) -> None:
    other = Adapters(make_model(), LoraSettings(targets=["k_proj"]), seed=1)
    with pytest.raises(TrainingError, match=r"other adapters than train\.lora asks for"):
        other.load_state_dict(trained.state_dict())


def test_without_peft_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(TrainingError, match=r"train\.lora needs peft .*: pip install 'opdlm\[lora\]'"):
        Adapters(make_model(), SOME, seed=1)


def test_a_projection_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"targets\.0"):
        LoraSettings.model_validate({"targets": ["query"]})

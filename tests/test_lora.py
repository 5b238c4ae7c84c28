"""Low-rank adapters: what is trained, what is decoded with, what is saved, and what a resumed run takes up."""

import signal
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from opdlm.config.hardware import Hardware
from opdlm.config.training import LoraSettings, OptimiserSettings
from opdlm.distill.learner import make_learner
from opdlm.distill.lora import Adapters, LoraOptimiser
from opdlm.distill.preemption import StoppedError
from opdlm.distill.ranks import Ranks
from opdlm.errors import TrainingError
from opdlm.model.attention import causal
from opdlm.model.checkpoint import load_model, read_weights, save_model
from opdlm.model.qwen3 import Qwen3
from tests.conftest import assert_close, make_model
from tests.family import Family, assert_same_result, run, small_stage
from tests.strikes import TRAINER, Strike

SOME = LoraSettings(rank=4, alpha=8, targets=["q_proj", "v_proj", "down_proj"])
IDS = torch.arange(12)


def logits(model: Qwen3) -> Tensor:
    return model.logits(model(IDS, torch.arange(12), causal([12])))


def lora(seed: int = 1, dtype: torch.dtype = torch.float32) -> LoraOptimiser:
    return LoraOptimiser(make_model().to(dtype), SOME, seed, OptimiserSettings(), Ranks())


def train(learner: LoraOptimiser, updates: int) -> None:
    for _ in range(updates):
        learner.backward(lambda: logits(learner.student).log_softmax(-1)[:, 3].mean().neg())
        learner.step(1e-2)


@pytest.fixture
def trained() -> LoraOptimiser:
    learner = lora()
    train(learner, 3)
    return learner


@torch.no_grad()
def test_new_adapters_change_nothing() -> None:
    adapters = Adapters(make_model(), SOME, seed=1)
    assert torch.equal(logits(adapters.student), logits(make_model()))
    for name, tensor in make_model().state_dict().items():
        assert torch.equal(adapters.whole_student().state_dict()[name], tensor)


def test_adapters_alone_are_trained(trained: LoraOptimiser) -> None:
    assert len(trained.weights) == 2 * 2 * 3, "two matrices at three projections of two layers"
    before = make_model().state_dict()
    for name, tensor in trained.student.state_dict().items():
        if ".lora_" not in name:
            assert torch.equal(tensor, before[name.replace(".base_layer.", ".")])


@torch.no_grad()
def test_the_whole_student_computes_what_the_trained_one_does(trained: LoraOptimiser) -> None:
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


def test_weights_that_the_decoder_moves_stay_where_they_are_in_the_student(trained: LoraOptimiser) -> None:
    """On a CUDA device it lays projections side by side, by giving their parameters other memory."""
    weights = [parameter.data_ptr() for parameter in trained.student.parameters()]
    for parameter in trained.whole_student().parameters():
        parameter.data = parameter.data.clone()
    assert [parameter.data_ptr() for parameter in trained.student.parameters()] == weights


def test_training_goes_on_bit_for_bit() -> None:
    undisturbed, stopped, resumed = lora(), lora(), lora(seed=2)
    train(undisturbed, 5)
    train(stopped, 2)
    resumed.load_state_dict(stopped.state_dict())
    train(resumed, 3)
    for name, tensor in undisturbed.student_state()["adapters"].items():
        assert torch.equal(resumed.student_state()["adapters"][name], tensor)


def test_the_same_seed_gives_the_same_adapters() -> None:
    one, same, other = (Adapters(make_model(), SOME, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_in_bf16_the_optimiser_holds_masters_of_the_adapters() -> None:
    learner = lora(dtype=torch.bfloat16)
    train(learner, 1)
    assert len(learner.state_dict()["masters"]) == len(learner.weights)
    assert {weight.dtype for weight in learner.weights} == {torch.bfloat16}
    assert {tensor.dtype for tensor in learner.whole_student().state_dict().values()} == {torch.bfloat16}


def test_other_adapters_are_refused(trained: LoraOptimiser) -> None:
    other = Adapters(make_model(), LoraSettings(targets=["k_proj"]), seed=1)
    with pytest.raises(TrainingError, match=r"other adapters than train\.lora asks for"):
        other.load_state_dict(trained.adapters.state_dict())


def test_without_peft_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(TrainingError, match=r"train\.lora needs peft .*: pip install 'opdlm\[lora\]'"):
        Adapters(make_model(), SOME, seed=1)


def test_a_projection_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"targets\.0"):
        LoraSettings.model_validate({"targets": ["query"]})


def test_adapters_and_zero_do_not_go_together() -> None:
    settings = small_stage(lora={"rank": 4}).train
    with pytest.raises(TrainingError, match=r"train\.lora goes without ZeRO"):
        make_learner(make_model(), settings, Ranks(), Hardware(zero=2))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_with_adapters_goes_on_bit_for_bit(family: Family, tmp_path: Path, precision: str) -> None:
    stage = small_stage(rollouts=3, lora={"rank": 4}, precision=precision)
    out = run(family, stage, tmp_path / "undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        Strike(signal.SIGTERM, TRAINER, "update", 3).prepare(patch.setattr)
        with pytest.raises(StoppedError, match="3 updates"):
            run(family, stage, tmp_path / "stopped")
    assert_same_result(out, run(family, stage, tmp_path / "stopped"))
    before, after = read_weights(family.student), read_weights(out)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name].to(after[name].dtype), after[name])}
    assert changed
    assert all("_proj" in name for name in changed)

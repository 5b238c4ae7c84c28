"""The benchmarks of training: the reference arm computes the same update, and tiny runs of each on the CPU."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from opdlm.config.hardware import Hardware
from opdlm.decode.request import Rollout
from opdlm.distill import trainer as trainer_module

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def folder() -> Iterator[None]:
    """The modules in `benchmarks/`, as its scripts see each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
        yield


def module(name: str) -> ModuleType:
    return importlib.import_module(name)


class FirstState:
    """Draws the first state of every block, in which all of it is masked."""

    def integers(self, low: int, size: tuple[int, ...]) -> np.ndarray:
        return np.zeros(size, dtype=np.int64)


def test_the_published_layout_computes_the_trainers_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients of one answer; its prompt fills the published padding, so that there is none."""
    published, trainers = module("published"), module("trainers")
    shape = module("floors").SHAPES["tiny"].model_copy(update={"num_hidden_layers": 2})
    monkeypatch.setattr(trainer_module, "realised_state", lambda steps, answer, rng: steps > 0)
    trainer = trainers.make_trainer(shape, {"batch_size": 1, "prompts_per_rollout": 1}, Hardware(), CPU)
    generator = torch.Generator().manual_seed(1)
    for weight in trainer.teacher.parameters():  # or both models would agree, and all gradients vanish
        weight.mul_(1 + 0.3 * torch.randn(weight.shape, generator=generator))
    rng = np.random.default_rng(0)
    prompt, ids = (rng.integers(0, 60, size).tolist() for size in (published.PADDED_PROMPT, 12))
    answer = Rollout(prompt, ids, [1, 2, 3, 4, 6, 5, 8, 7, 9, 10, 11, 12], [], [], "length")

    reference = trainers.make_trainer(shape, {"batch_size": 1, "prompts_per_rollout": 1}, Hardware(), CPU).student
    arm = published.Published(reference, trainer.teacher, trainer.mask_token, trainer.block_size, top_k=0)
    arm.row(answer, len(ids), FirstState())
    expected = [weight.grad for weight in reference.parameters()]

    taken = []
    monkeypatch.setattr(
        trainer.learner, "step", lambda _: taken.extend(weight.grad for weight in trainer.student.parameters()) or 0.0
    )
    trainer.update([answer], trainer.read_by_teacher([answer]), [0], 0, rng)
    assert max(float(gradient.abs().max()) for gradient in taken) > 1e-4
    for ours, theirs in zip(taken, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-3)


def test_an_update_is_measured_in_all_layouts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layouts = ["--reference", "--layout", "packed", "hosted"]
    arguments = [*layouts, "--top-k", "0", "4", "--csv", str(tmp_path / "rows.csv"), "--commit", "abc"]
    rows = module("train_step").main(arguments)
    assert [(row.layout, row.top_k) for row in rows] == [
        ("published", 0),
        ("packed", 0),
        ("hosted", 0),
        ("published", 4),
        ("packed", 4),
        ("hosted", 4),
    ]
    assert all(row.update_seconds is None and row.peak_gb is None for row in rows), "a CPU gets no times"
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 7
    assert "no times" in capsys.readouterr().out


def test_useful_arithmetic_is_that_of_the_layers_and_of_attention() -> None:
    """A hand computation for one answer of two blocks after a prompt of one, one layer."""
    shape = module("floors").SHAPES["tiny"].model_copy(update={"num_hidden_layers": 1})
    answer = Rollout([1, 2, 3, 4], list(range(8)), [1] * 4 + [2] * 4, [], [], "length")
    wide = shape.num_attention_heads * shape.head_dim
    narrow = shape.num_key_value_heads * shape.head_dim
    layer = shape.hidden_size * (2 * wide + 2 * narrow + 3 * shape.intermediate_size)
    logits = 8 * shape.hidden_size * shape.vocab_size  # every position is masked in its only state
    student = layer * (8 + 8) + logits + 2 * wide * (4 * 4 + 4 * 8 + 4 * 8 + 4 * 12)
    teacher = layer * 11 + logits + 2 * wide * sum(range(1, 12))
    assert module("train_step").useful_flops(shape, [answer]) == 2 * (3 * student + teacher)


def test_a_whole_step_runs(capsys: pytest.CaptureFixture[str]) -> None:
    module("whole_step").main(["--rollout", "1"])
    assert "answers of 100, 2 updates of 8" in capsys.readouterr().out


def test_the_loss_alone_runs(capsys: pytest.CaptureFixture[str]) -> None:
    module("loss").main(["--chunk", "64"])
    assert "compiled  chunks of   64" in capsys.readouterr().out

"""The same numbers on a CUDA device as on the CPU; run with `pytest -m gpu` on a machine that has one."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from opdlm.blocks import clean_mask
from opdlm.config.decoding import DecodingSettings
from opdlm.decode.engine import Engine
from opdlm.decode.request import Request
from opdlm.distill.loop import train
from opdlm.distill.trainer import Trainer
from opdlm.model.attention import SegmentAttention
from opdlm.model.checkpoint import read_weights
from opdlm.model.qwen3 import Qwen3
from tests.conftest import END_TOKEN, VOCABULARY, make_model
from tests.family import make_family, small_stage
from tests.test_engine import prompt

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


HOWS = [
    DecodingSettings(strategy="static"),
    DecodingSettings(strategy="static", temperature=0.8, top_k=5, top_p=0.9),
    DecodingSettings(strategy="dynamic", threshold=0.4, temperature=1.0),
    DecodingSettings(strategy="sequential", tokens_per_step=2),
    DecodingSettings(strategy="autoregressive", temperature=1.0),
]
KERNEL, REFERENCE = 32, 8
"""Head sizes that our attention kernel takes, and that it leaves to PyTorch's."""


def model_for(how: DecodingSettings, head_dim: int = KERNEL) -> Qwen3:
    return make_model(block_size=None if how.strategy == "autoregressive" else 4, head_dim=head_dim)


def requests() -> list[Request]:
    return [Request(prompt(1 + 7 * place % 60), 12 + 5 * place, seed=place) for place in range(12)]


@pytest.mark.parametrize("head_dim", [KERNEL, REFERENCE])
@pytest.mark.parametrize("how", HOWS, ids=lambda how: f"{how.strategy}-{how.temperature}")
def test_decoding_on_the_device_gives_the_cpus_answers(how: DecodingSettings, head_dim: int) -> None:
    on_cpu = Engine(model_for(how, head_dim), [END_TOKEN], slots=4).generate(requests(), how)
    on_device = Engine(model_for(how, head_dim).cuda(), [END_TOKEN], slots=4).generate(requests(), how)
    assert on_device == on_cpu


@pytest.mark.parametrize("how", HOWS, ids=lambda how: f"{how.strategy}-{how.temperature}")
def test_graphs_pages_and_batches_change_nothing(how: DecodingSettings) -> None:
    model = model_for(how).cuda()
    expected = [Engine(model, [END_TOKEN], slots=1).generate([request], how)[0] for request in requests()]
    assert Engine(model, [END_TOKEN]).generate(requests(), how) == expected
    assert Engine(model, [END_TOKEN], graphs=False).generate(requests(), how) == expected
    assert Engine(model, [END_TOKEN], page_size=256).generate(requests(), how) == expected, "one page a sequence"
    tight = Engine(model, [END_TOKEN], slots=5, page_size=16, cache_tokens=160)
    assert tight.generate(requests(), how) == expected, "sequences are stopped and taken up again"


def test_watching_every_step_changes_nothing() -> None:
    engine, steps = Engine(model_for(HOWS[0]).cuda(), [END_TOKEN]), []
    watched = dict(engine.stream(requests(), HOWS[0], watch=lambda slots: steps.append(slots.count)))
    assert [watched[index] for index in range(12)] == engine.generate(requests(), HOWS[0])
    assert len(steps) >= max(max(answer.steps) for answer in watched.values())


def test_memory_does_not_grow_when_rollouts_and_training_alternate(tmp_path: Path) -> None:
    family = make_family(tmp_path)
    trainer = Trainer(small_stage(), family.teacher, family.student, family.prompts, "cuda")
    rng = np.random.default_rng(0)
    allocated, reserved = [], []
    for number in range(200):
        answers = trainer.write_answers(1 + number % 8)
        allocated.append(torch.cuda.memory_allocated())
        reserved.append(torch.cuda.memory_reserved())
        trainer.update(answers, trainer.read_by_teacher(answers), list(range(len(answers))), 0, rng)
    assert max(allocated[100:]) <= max(allocated[20:100])
    assert max(reserved[100:]) <= max(reserved[20:100])


@torch.no_grad()
def test_packed_attention_on_the_device_equals_the_cpus(student: Qwen3) -> None:
    lengths = [9, 4, 17]
    ids = torch.randint(VOCABULARY, (30,), generator=torch.Generator().manual_seed(0))
    positions = torch.cat([torch.arange(length) for length in lengths])
    masks = [clean_mask(torch.arange(length), torch.arange(length), 4) for length in lengths]
    on_cpu = student(ids, positions, SegmentAttention(lengths, list(masks)))
    moved = SegmentAttention(lengths, [mask.cuda() for mask in masks])
    on_device = copy.deepcopy(student).cuda()(ids.cuda(), positions.cuda(), moved)
    torch.testing.assert_close(on_device.cpu(), on_cpu, atol=1e-4, rtol=1e-4)


def test_training_on_the_device_ends_near_the_cpus_weights(tmp_path: Path) -> None:
    family = make_family(tmp_path)
    weights = {}
    for device in ("cpu", "cuda"):
        folder = tmp_path / device
        stage = small_stage(objective="sft", rollouts=3)
        train(stage, family.teacher, family.student, family.prompts, folder / "state", folder / "out", device)
        weights[device] = read_weights(folder / "out")
    for name, tensor in weights["cpu"].items():
        torch.testing.assert_close(weights["cuda"][name], tensor, atol=5e-3, rtol=0)

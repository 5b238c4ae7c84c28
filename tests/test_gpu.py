"""The same numbers on a CUDA device as on the CPU; run with `pytest -m gpu` on a machine that has one."""

import copy
from pathlib import Path

import pytest
import torch

from opdlm.blocks import clean_mask
from opdlm.config.decoding import DecodingSettings
from opdlm.decode.engine import Engine
from opdlm.decode.request import Request
from opdlm.distill.loop import train
from opdlm.model.attention import SegmentAttention
from opdlm.model.checkpoint import read_weights
from opdlm.model.qwen3 import Qwen3
from tests.conftest import END_TOKEN, VOCABULARY
from tests.family import make_family, small_stage
from tests.test_engine import prompt

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize(
    "how",
    [
        DecodingSettings(strategy="static"),
        DecodingSettings(strategy="dynamic", threshold=0.4, temperature=1.0),
        DecodingSettings(strategy="sequential", tokens_per_step=2),
    ],
    ids=lambda how: how.strategy,
)
def test_decoding_on_the_device_gives_the_cpus_answers(student: Qwen3, how: DecodingSettings) -> None:
    requests = [Request(prompt(length), 12 + length, seed=length) for length in range(1, 12)]
    on_device = Engine(copy.deepcopy(student).cuda(), [END_TOKEN], slots=4).generate(requests, how)
    assert on_device == Engine(student, [END_TOKEN], slots=4).generate(requests, how)


def test_autoregressive_decoding_on_the_device_gives_the_cpus_answers(teacher: Qwen3) -> None:
    requests = [Request(prompt(length), 20, seed=length) for length in range(1, 9)]
    how = DecodingSettings(strategy="autoregressive", temperature=1.0)
    on_device = Engine(copy.deepcopy(teacher).cuda(), [END_TOKEN]).generate(requests, how)
    assert on_device == Engine(teacher, [END_TOKEN]).generate(requests, how)


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

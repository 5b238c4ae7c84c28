"""The same numbers on a CUDA device as on the CPU; run with `pytest -m gpu` on a machine that has one."""

import copy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from opdlm.blocks import clean_mask
from opdlm.config.decoding import DecodingSettings
from opdlm.config.training import DivergenceSettings
from opdlm.decode.engine import Engine
from opdlm.decode.request import Request, Rollout
from opdlm.distill.divergence import CHUNK, chunked_loss, divergence_in_chunk
from opdlm.distill.loop import train
from opdlm.distill.trainer import Trainer
from opdlm.model.attention import SegmentAttention
from opdlm.model.checkpoint import read_weights
from opdlm.model.qwen3 import Qwen3
from tests.conftest import END_TOKEN, VOCABULARY, make_model
from tests.family import Family, make_family, small_stage
from tests.test_engine import prompt

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


KERNEL, REFERENCE = 32, 8
"""Head sizes that our attention kernel takes, and that it leaves to PyTorch's."""


@dataclass(frozen=True)
class Way:
    """A way of decoding, and the model for it."""

    how: DecodingSettings
    block_size: int | None = 4
    head_dim: int = KERNEL

    def __str__(self) -> str:
        return f"{self.how.strategy}-{self.how.temperature}-block {self.block_size}-{self.head_dim}"

    def model(self) -> Qwen3:
        """Less certain than others, so that no strategy compares confidences that fp32 can hardly tell apart."""
        model = make_model(self.block_size, head_dim=self.head_dim)
        with torch.no_grad():
            model.model.norm.weight.mul_(0.3)
        return model


GREEDY = Way(DecodingSettings(strategy="static"))
FILTERED = Way(DecodingSettings(strategy="static", temperature=0.8, top_k=5, top_p=0.9))
DYNAMIC = Way(DecodingSettings(strategy="dynamic", threshold=0.4, temperature=1.0))
BLOCKS_OF_8 = Way(DecodingSettings(strategy="sequential", temperature=1.0), block_size=8)
BLOCKS_OF_16 = replace(DYNAMIC, block_size=16)
AUTOREGRESSIVE = Way(DecodingSettings(strategy="autoregressive", temperature=1.0), block_size=None)
REQUESTS = [Request(prompt(1 + 7 * place % 60), 12 + 5 * place, seed=place) for place in range(12)]


@cache
def on_cpu(way: Way) -> list[Rollout]:
    return Engine(way.model(), [END_TOKEN]).generate(REQUESTS, way.how)


@pytest.mark.parametrize(
    "way",
    [
        *[GREEDY, FILTERED, DYNAMIC, BLOCKS_OF_8, BLOCKS_OF_16, AUTOREGRESSIVE],
        *[replace(way, head_dim=REFERENCE) for way in (DYNAMIC, AUTOREGRESSIVE)],
    ],
    ids=str,
)
def test_decoding_on_the_device_gives_the_cpus_answers(way: Way) -> None:
    """A few at a time, so that answers end and others begin in the middle of a round."""
    assert Engine(way.model().cuda(), [END_TOKEN], slots=4).generate(REQUESTS, way.how) == on_cpu(way)


@pytest.mark.parametrize("way", [DYNAMIC, AUTOREGRESSIVE], ids=str)
def test_graphs_pages_and_batches_change_nothing(way: Way) -> None:
    model = way.model().cuda()
    assert Engine(model, [END_TOKEN]).generate(REQUESTS, way.how) == on_cpu(way)
    assert Engine(model, [END_TOKEN], graphs=False).generate(REQUESTS, way.how) == on_cpu(way)
    alone = Engine(model, [END_TOKEN], slots=1)
    assert [alone.generate([request], way.how)[0] for request in REQUESTS[-2:]] == on_cpu(way)[-2:]
    tight = Engine(model, [END_TOKEN], slots=5, page_size=16, cache_tokens=160)
    assert tight.generate(REQUESTS, way.how) == on_cpu(way), "sequences are stopped and taken up again"


def test_watching_every_step_changes_nothing() -> None:
    steps: list[int] = []
    engine = Engine(DYNAMIC.model().cuda(), [END_TOKEN], page_size=256)
    watched = dict(engine.stream(REQUESTS, DYNAMIC.how, watch=lambda slots: steps.append(slots.count)))
    assert [watched[index] for index in range(12)] == on_cpu(DYNAMIC)
    assert len(steps) >= max(max(answer.steps) for answer in watched.values())


def test_a_stream_that_is_closed_early_leaves_no_memory_behind() -> None:
    engine = Engine(DYNAMIC.model().cuda(), [END_TOKEN], slots=4)
    engine.generate(REQUESTS, DYNAMIC.how)  # weights are moved once, and libraries keep some workspace
    before = torch.cuda.memory_allocated()
    for _ in range(2):
        stream = engine.stream(REQUESTS, DYNAMIC.how)
        next(stream)
        assert torch.cuda.memory_allocated() > before
        stream.close()
        assert torch.cuda.memory_allocated() <= before


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    return make_family(tmp_path_factory.mktemp("family"))


def test_memory_does_not_grow_when_rollouts_and_training_alternate(family: Family) -> None:
    trainer = Trainer(small_stage(), family.teacher, family.student, family.prompts, "cuda")
    rng = np.random.default_rng(0)
    allocated, reserved = [], []
    for number in range(48):
        answers = trainer.write_answers(1 + number % 8)
        allocated.append(torch.cuda.memory_allocated())
        reserved.append(torch.cuda.memory_reserved())
        trainer.update(answers, trainer.read_by_teacher(answers), list(range(len(answers))), 0, rng)
    # The first eight make the optimiser's state; from then on all eight rollouts come again and again.
    assert max(allocated[24:]) <= max(allocated[8:24])
    assert max(reserved[24:]) <= max(reserved[8:24])


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


@pytest.mark.parametrize("kind", [{}, {"top_k": 16}, {"kind": "jsd"}])
def test_the_loss_of_chunks_on_the_device_equals_the_cpus(kind: dict[str, object]) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden, head, teacher = (
        torch.randn(shape, generator=generator) for shape in ((CHUNK + 7, 32), (500, 32), (CHUNK + 7, 500))
    )

    def loss(device: str) -> list[torch.Tensor]:
        here, there, targets = hidden.to(device).requires_grad_(), head.to(device).requires_grad_(), teacher.to(device)
        settings = DivergenceSettings.model_validate(kind)
        value = chunked_loss(
            here, there, lambda scores, chunk: divergence_in_chunk(scores, targets[chunk], settings).sum()
        )
        return [part.cpu() for part in (value.detach(), *torch.autograd.grad(value, [here, there]))]

    for actual, expected in zip(loss("cuda"), loss("cpu"), strict=True):
        torch.testing.assert_close(actual, expected, atol=1e-3, rtol=1e-3)


def test_training_on_the_device_ends_near_the_cpus_weights(family: Family, tmp_path: Path) -> None:
    weights = {}
    for device in ("cpu", "cuda"):
        folder = tmp_path / device
        stage = small_stage(objective="sft", rollouts=3)
        train(stage, family.teacher, family.student, family.prompts, folder / "state", folder / "out", device)
        weights[device] = read_weights(folder / "out")
    for name, tensor in weights["cpu"].items():
        torch.testing.assert_close(weights["cuda"][name], tensor, atol=5e-3, rtol=0)

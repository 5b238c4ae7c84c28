"""Counted operations are those that PyTorch's own counter, or a look at every forward pass, finds."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from opdlm.blocks import training_mask
from opdlm.config.decoding import DecodingSettings
from opdlm.decode.engine import Engine
from opdlm.decode.request import Request, Rollout
from opdlm.distill import flops
from opdlm.distill.divergence import chunked_loss
from opdlm.distill.flops import Work
from opdlm.distill.rows import training_row
from opdlm.distill.states import random_state
from opdlm.model.qwen3 import Attend, Qwen3
from tests.conftest import make_model

aten = torch.ops.aten
ON_CPU = {
    aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v),
    aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda grad, q, k, v, *_, **__: sdpa_backward_flop_count(
        grad, q, k, v
    ),
}
"""PyTorch has no formulas for its CPU's attention; those for other devices fit."""
LENGTH, LOSSES = 12, 5


def everybody(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of all tokens to all tokens."""
    group = query.shape[-2] // key.shape[-2]
    heads = (
        x.transpose(0, 1)[None] for x in (query, key.repeat_interleave(group, 1), value.repeat_interleave(group, 1))
    )
    return F.scaled_dot_product_attention(*heads)[0].transpose(0, 1)


def counted(work: Callable[[], object]) -> int:
    with FlopCounterMode(display=False, custom_mapping=ON_CPU) as counter:
        work()
    return counter.get_total_flops()


def hidden(model: Qwen3) -> Tensor:
    return model(torch.arange(LENGTH), torch.arange(LENGTH), everybody)


@pytest.mark.parametrize("tied", [True, False])
def test_weights(tied: bool) -> None:
    model = make_model(tied=tied)
    assert flops.weights(model.shape) == sum(parameter.numel() for parameter in model.parameters())


def test_a_forward_pass(student: Qwen3) -> None:
    with torch.no_grad():
        spent = counted(lambda: student.logits(hidden(student)[:LOSSES]))
    assert flops.forward(student.shape, Work(LENGTH, LENGTH**2, LOSSES)) == spent


@pytest.mark.parametrize("recomputed", [0, 1, 2])
def test_an_update(student: Qwen3, recomputed: int) -> None:
    student.recomputed = recomputed
    head = student.lm_head.weight

    def update() -> None:
        chunked_loss(hidden(student)[:LOSSES], head, lambda logits, chunk: logits.square().sum()).backward()

    assert flops.update(student.shape, Work(LENGTH, LENGTH**2, LOSSES), recomputed) == counted(update)


def test_a_training_row_has_a_pair_for_each_token_that_another_sees() -> None:
    rng = np.random.default_rng(0)
    for prompt in range(1, 9):
        answer = Rollout(list(range(prompt)), [1] * (12 - prompt), list(range(1, 13 - prompt)), [], [], "length")
        row = training_row(answer, 4, 9, random_state, "exclude", rng)
        mask = training_mask(torch.from_numpy(row.positions), torch.from_numpy(row.noised), 4)
        assert flops.in_rows([row, row], 4) == Work(2 * len(row.ids), 2 * int(mask.sum()), 2 * len(row.loss_places))


class Watch:
    """Adds up what a model is given to do; each token sees up to the end of its block."""

    def __init__(self, model: Qwen3, block_size: int) -> None:
        self.block_size, self.work = block_size, Work()
        self.forward, self.logits = model.forward, model.logits
        model.forward, model.logits = self.watched_forward, self.watched_logits  # type: ignore[method-assign]

    def watched_forward(self, ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        seen = positions // self.block_size * self.block_size + self.block_size
        self.work += Work(tokens=len(positions), pairs=int(seen.sum()))
        return self.forward(ids, positions, attend)

    def watched_logits(self, rows: Tensor) -> Tensor:
        self.work += Work(logits=len(rows))
        return self.logits(rows)


@pytest.mark.parametrize("threshold", [0.0, 0.05, 1.0])
def test_the_trajectory_tells_what_an_answer_took(student: Qwen3, threshold: float) -> None:
    watch = Watch(student, 4)
    requests = [Request([3, 4, 5, 6, 7, 8, 9][:length], 10 + length, seed=length) for length in (1, 2, 4, 5, 7)]
    engine = Engine(student, stop_ids=list(range(20, 30)))
    answers = engine.generate(requests, DecodingSettings(strategy="dynamic", threshold=threshold, temperature=1.0))
    assert {answer.finish for answer in answers} == {"stop", "length"}
    assert flops.writing(answers, 4) == watch.work


def test_an_autoregressive_answer_and_its_reading(teacher: Qwen3) -> None:
    watch = Watch(teacher, 1)
    requests = [Request([3, 4, 5][:length], 6, seed=length) for length in (1, 2, 3)]
    answers = Engine(teacher, stop_ids=[0]).generate(requests, DecodingSettings(strategy="autoregressive"))
    assert flops.writing(answers, None) == watch.work
    assert flops.reading(answers) == Work(watch.work.tokens, watch.work.pairs)


def test_the_paper_counts_six_operations_a_weight_and_token_and_two_of_the_teacher() -> None:
    assert flops.paper(student=4_000, teacher=8_000, tokens=10) == 10 * (6 * 4_000 + 2 * 8_000)

"""The teacher reads many answers in one pass, and sees each as if it were alone."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from opdlm.decode.request import Rollout
from opdlm.distill.rows import grouped
from opdlm.distill.trainer import Reading, Trainer
from opdlm.model.attention import causal
from tests.conftest import assert_close
from tests.family import make_family, small_stage


@given(lengths=st.lists(st.integers(1, 30), max_size=12), budget=st.integers(1, 40))
def test_groups_keep_the_order_and_the_budget(lengths: list[int], budget: int) -> None:
    groups = list(grouped(lengths, lambda length: length, budget))
    assert [length for group in groups for length in group] == lengths
    assert all(len(group) == 1 or sum(group) <= budget for group in groups)
    for group, after in pairwise(groups):
        assert sum(group) + after[0] > budget, "a group is as full as it can be"


@pytest.mark.parametrize("budget", [1, 40, 10_000])
def test_the_teachers_states_are_those_of_each_answer_alone(tmp_path: Path, budget: int) -> None:
    family = make_family(tmp_path)
    trainer = Trainer(small_stage(), family.teacher, family.student, family.prompts, "cpu")
    answers = [Rollout([5, 6, 7][:place], [9 + place] * (3 + 4 * place), [], [], [], "length") for place in (1, 2, 3)]
    reading = Reading(trainer.teacher, answers, budget)
    hidden, starts = reading.of(list(range(len(answers))))
    for answer, start in zip(answers, starts, strict=True):
        ids = torch.tensor([*answer.prompt, *answer.ids])
        with torch.no_grad():
            alone = trainer.teacher(ids, torch.arange(len(ids)), causal([len(ids)]))
        expected = alone[len(answer.prompt) - 1 : -1]
        assert_close(hidden[start : start + len(answer.ids)], expected)
    assert len(hidden) == sum(len(answer.ids) for answer in answers)


def test_an_update_in_bf16_is_nearly_that_in_fp32(tmp_path: Path) -> None:
    family = make_family(tmp_path)
    losses, norms = {}, {}
    answers = None
    for precision in ("fp32", "bf16"):
        stage = small_stage(precision=precision, batch_size=4)
        trainer = Trainer(stage, family.teacher, family.student, family.prompts, "cpu")
        answers = answers or trainer.write_answers(4)
        reading, rng = trainer.read_by_teacher(answers), np.random.default_rng(0)
        update = trainer.update(answers, reading, [0, 1, 2, 3], 5, rng)
        losses[precision], norms[precision] = update.loss, update.grad_norm
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.03)
    assert norms["bf16"] == pytest.approx(norms["fp32"], rel=0.05)

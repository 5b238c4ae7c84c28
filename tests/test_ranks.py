"""Two processes that train together do what one does alone."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from opdlm.distill.ranks import Ranks, shares
from opdlm.errors import TrainingError
from opdlm.identity import canonical_json
from tests.family import Family, small_stage

ROOT = Path(__file__).parents[1]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]


@given(costs=st.lists(st.integers(1, 100), max_size=20), count=st.integers(1, 8))
def test_items_are_dealt_once_each_and_evenly(costs: list[int], count: int) -> None:
    dealt = shares(costs, count)
    assert sorted(index for part in dealt for index in part) == list(range(len(costs)))
    loads = [sum(costs[index] for index in part) for part in dealt]
    assert max(loads) - min(loads) <= max(costs, default=0)


@dataclass(frozen=True)
class Outcome:
    record: dict[str, Any]
    weights: dict[str, Tensor]


def outcomes(family: Family, out: Path, processes: int) -> list[Outcome]:
    """What each of the processes ended with."""
    stage = small_stage(batch_size=3, prompts_per_rollout=7, micro_batch_tokens=60)
    launcher = [*TORCHRUN, "--nproc-per-node", str(processes)] if processes > 1 else [sys.executable]
    arguments = [canonical_json(stage), family.teacher, family.student, family.prompts, out, processes]
    command = [*launcher, str(ROOT / "tests" / "two_ranks.py"), *map(str, arguments)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, timeout=200)
    return [
        Outcome(json.loads(Path(f"{out}-{rank}.json").read_text()), torch.load(f"{out}-{rank}.pt"))
        for rank in range(processes)
    ]


def test_two_ranks_give_the_updates_of_one(family: Family, tmp_path: Path) -> None:
    [alone] = outcomes(family, tmp_path / "one", 1)
    first, second = outcomes(family, tmp_path / "two", 2)
    assert first.record["losses"] == second.record["losses"]
    for name, tensor in first.weights.items():
        assert torch.equal(tensor, second.weights[name]), "all ranks hold the same bits"
        torch.testing.assert_close(tensor, alone.weights[name], atol=1e-6, rtol=0)
    assert first.record["ids"] == second.record["ids"] == alone.record["ids"]
    for loss, expected in zip(first.record["losses"], alone.record["losses"], strict=True):
        assert loss == pytest.approx(expected, abs=1e-6)
    read = first.record["read"] + second.record["read"]
    assert sorted(read) == alone.record["read"] == list(range(7)), "the teacher reads each answer once"


def test_a_process_that_is_alone_says_so() -> None:
    with pytest.raises(TrainingError, match="2 processes were asked for, and this one is number 0 of 1: start it with"):
        Ranks(2, "cpu")

"""The processes that train together, one a device: each writes and trains on its share, all hold the same weights."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.distributed import all_reduce, barrier

from opdlm.distill.rows import grouped
from opdlm.errors import TrainingError

T = TypeVar("T")
BUCKET = 2**26
"""Numbers that travel together: one message for many small gradients."""


class Ranks:
    """The processes of a run. Started plainly there is one; `torchrun` starts several.

    Args:
        processes: how many there must be.
        device: `cuda`, or `cpu` where the processes talk through gloo.

    Raises:
        TrainingError: another number of processes was really started. Some launchers start independent copies on a
            machine without GPUs, which would train each for itself.
    """

    def __init__(self, processes: int = 1, device: str = "cpu") -> None:
        if processes == 1:
            self.rank, self.world, self.device = 0, 1, torch.device(device)
            return
        state = PartialState(cpu=device == "cpu")
        self.rank, self.world, self.device = state.process_index, state.num_processes, state.device
        if self.world != processes:
            raise TrainingError(
                f"{processes} processes were asked for, and this one is number {self.rank} of {self.world}: "
                f"start it with torchrun --nproc-per-node {processes}"
            )

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def gather(self, mine: Sequence[T]) -> list[T]:
        """The items of all processes, in the order of the ranks, on each of them."""
        return list(mine) if self.world == 1 else gather_object(list(mine))

    def any(self, mine: str | None) -> str | None:
        """What any of the processes says, if one says something; all of them learn the same."""
        return mine if self.world == 1 else next((said for said in self.gather([mine]) if said), None)

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.world > 1:
            barrier()

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.world > 1:
            all_reduce(values)
        return values

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its sum over all processes; the same bits on each of them."""
        if self.world == 1:
            return
        for group in grouped(list(parameters), nn.Parameter.numel, BUCKET):
            for parameter in group:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            total = self.sum(torch.cat([parameter.grad.flatten() for parameter in group if parameter.grad is not None]))
            for parameter, part in zip(group, total.split([parameter.numel() for parameter in group]), strict=True):
                parameter.grad = part.view_as(parameter)


def shares(costs: Sequence[float], count: int) -> list[list[int]]:
    """Deal items to `count` processes so that their costs are about equal: the next largest to the least laden.

    Returns:
        indices of each process's items, in ascending order.
    """
    dealt: list[list[int]] = [[] for _ in range(count)]
    load = [0.0] * count
    for index in sorted(range(len(costs)), key=lambda index: -costs[index]):
        least = load.index(min(load))
        dealt[least].append(index)
        load[least] += costs[index]
    return [sorted(part) for part in dealt]

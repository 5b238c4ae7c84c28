"""CUDA graphs of the denoising step: one launch for what would be some five hundred, one graph a batch size."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from opdlm.decode.slots import Sizes

TakeStep = Callable[[Tensor, Sizes | None], None]
"""`step(slots [n], sizes)`: one denoising step of these slots."""


class EagerSteps:
    """Runs steps as they are."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def run(self, step: TakeStep, slots: Sequence[int], sizes: Sequence[Sizes | None]) -> None:
        """Take steps of these slots, one for each of the sizes."""
        chosen = torch.tensor(slots, device=self.device)
        for size in sizes:
            step(chosen, size)


class GraphSteps:
    """Captures the step for each number of slots and sizes when it is first used, and replays it from then on.

    The first one runs eagerly: it compiles kernels, and lets libraries set up what they may not in a capture.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.pool = torch.cuda.graph_pool_handle()
        self.slots: dict[int, Tensor] = {}
        self.written: dict[int, list[int]] = {}
        self.graphs: dict[tuple[int, Sizes | None], torch.cuda.CUDAGraph] = {}

    def run(self, step: TakeStep, slots: Sequence[int], sizes: Sequence[Sizes | None]) -> None:
        """Take steps of these slots, one for each of the sizes; the step must be the same in every call."""
        count = len(slots)
        if count not in self.slots:
            self.slots[count] = torch.empty(count, dtype=torch.int64, device=self.device)
        if self.written.get(count) != slots:
            self.slots[count].copy_(torch.tensor(slots))
            self.written[count] = list(slots)
        for size in sizes:
            if (count, size) in self.graphs:
                self.graphs[count, size].replay()
            else:
                step(self.slots[count], size)
                self.graphs[count, size] = self._capture(step, self.slots[count], size)

    def _capture(self, step: TakeStep, slots: Tensor, sizes: Sizes | None) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            step(slots, sizes)
        return graph

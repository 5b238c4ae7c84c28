"""Gradients that wait for the update in the host's memory: 4 bytes a weight less on the device.

They leave while the backward pass goes on, beside it; at the update they come back a few at a time. What is learned is
the same to the last bit.
"""

import math
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from opdlm.config.training import OptimiserSettings
from opdlm.distill.optimiser import Optimiser, taken
from opdlm.distill.ranks import BUCKET, Ranks
from opdlm.distill.rows import grouped
from opdlm.model.qwen3 import Qwen3


class HostGradients(Optimiser):
    """`Optimiser` whose gradients are in the host's memory between the parts of a batch's loss."""

    def __init__(self, student: Qwen3, settings: OptimiserSettings, ranks: Ranks) -> None:
        super().__init__(student, settings, ranks)
        self.device = self.weights[0].device
        self.beside = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        self.buffers: dict[nn.Parameter, Tensor] = {}
        """The host's memory for a master's gradient, in bytes, kept from update to update."""
        self.waiting: dict[nn.Parameter, Tensor] = {}
        """Gradients so far in this update, in those buffers; a master without one has none yet."""
        self.norms: dict[nn.Parameter, Tensor] = {}
        """Of the same."""

    def _handing_over(self) -> list[nn.Parameter]:
        return self.weights

    @torch.no_grad()
    def _hand_over(self, weight: nn.Parameter) -> None:
        master, gradient = self.master_of[weight], taken(weight)
        if self.beside is not None:
            self.beside.wait_stream(torch.cuda.current_stream(self.device))
            gradient.record_stream(self.beside)
        with self._on_the_side():
            if master in self.waiting:
                gradient = self._fetched(master).add_(gradient)
            self._put(master, gradient)

    @torch.no_grad()
    def step(self, lr: float) -> float:
        if self.beside is not None:
            torch.cuda.current_stream(self.device).wait_stream(self.beside)
        groups = [*grouped(self.masters, nn.Parameter.numel, BUCKET)]
        if self.ranks.world > 1:
            for group in groups:
                self._sum_over_ranks(group)
        norms = [self.norms[master] for master in self.masters if master in self.waiting]
        norm = torch.linalg.vector_norm(torch.stack(norms))
        if math.isfinite(norm.item()):
            scale = (self.max_grad_norm / (norm + 1e-6)).clamp(max=1.0)  # as torch.nn.utils.clip_grad_norm_
            for settings in self.adamw.param_groups:
                settings["lr"] = lr
            for group in groups:
                self._update(group, scale)
            self._round()
        self.waiting.clear()
        return norm.item()

    def _update(self, group: list[nn.Parameter], scale: Tensor) -> None:
        """AdamW passes over masters that have no gradient, so it takes these alone."""
        for master in group:
            if master in self.waiting:
                master.grad = self._fetched(master).mul_(scale)
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)

    def _sum_over_ranks(self, group: list[nn.Parameter]) -> None:
        for master in group:
            master.grad = self._fetched(master) if master in self.waiting else torch.zeros_like(master)
        self.ranks.sum_gradients(group)
        for master in group:
            self._put(master, taken(master))

    def _fetched(self, master: nn.Parameter) -> Tensor:
        """Its gradient so far, in fp32 on the device."""
        return self.waiting[master].to(self.device, non_blocking=True, copy=True).float()

    def _put(self, master: nn.Parameter, gradient: Tensor) -> None:
        """Let it wait as it is: a first bf16 gradient is half the way of a sum."""
        if master not in self.buffers:
            size = master.numel() * torch.float32.itemsize
            self.buffers[master] = torch.empty(size, dtype=torch.uint8, pin_memory=self.beside is not None)
        self.waiting[master] = self.buffers[master][: gradient.nbytes].view(gradient.dtype).view(gradient.shape)
        self.waiting[master].copy_(gradient, non_blocking=True)
        self.norms[master] = torch.linalg.vector_norm(gradient, dtype=torch.float32)

    def _on_the_side(self) -> AbstractContextManager[object]:
        return nullcontext() if self.beside is None else torch.cuda.stream(self.beside)

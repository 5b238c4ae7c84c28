"""AdamW in fp32, whatever the weights are kept in.

In bf16 a weight near 1 cannot move by less than 0.004, hundreds of updates at the paper's learning rate. The optimiser
therefore holds fp32 masters of weights that are kept in less, sums their gradients over micro-batches and ranks in
fp32, and rounds the masters into the weights after each update.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from opdlm.config.training import OptimiserSettings
from opdlm.distill.ranks import Ranks


class Optimiser:
    """One update at a time: `accumulate` after each backward pass, then `clip`, then `step`.

    Args:
        parameters: the weights to train.
        settings: of AdamW (spec 5.1).
        ranks: the processes whose gradients add up.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], settings: OptimiserSettings, ranks: Ranks) -> None:
        self.max_grad_norm, self.ranks = settings.max_grad_norm, ranks
        self.weights = list(parameters)
        self.masters = [
            weight if weight.dtype == torch.float32 else nn.Parameter(weight.detach().float())
            for weight in self.weights
        ]
        self.adamw = torch.optim.AdamW(
            self.masters,
            lr=settings.lr,
            betas=(settings.beta1, settings.beta2),
            eps=settings.eps,
            weight_decay=settings.weight_decay,
        )

    def accumulate(self) -> None:
        """Add the gradients of a backward pass to the masters'."""
        for weight, master in self._apart():
            if weight.grad is not None:
                gradient = weight.grad.float()
                master.grad = gradient if master.grad is None else master.grad.add_(gradient)
                weight.grad = None

    def clip(self) -> float:
        """Sum the gradients over the ranks and clip their norm; returns the norm before."""
        self.ranks.sum_gradients(self.masters)
        return torch.nn.utils.clip_grad_norm_(self.masters, self.max_grad_norm).item()

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Update the weights with learning rate `lr`, and forget the gradients."""
        for group in self.adamw.param_groups:
            group["lr"] = lr
        self.adamw.step()
        for weight, master in self._apart():
            weight.copy_(master)
        self.adamw.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs beside the weights."""
        return {"adamw": self.adamw.state_dict(), "masters": [master.data for _, master in self._apart()]}

    @torch.no_grad()
    def load_state_dict(self, tensors: dict[str, Any]) -> None:
        """Take up the state of `state_dict`."""
        self.adamw.load_state_dict(tensors["adamw"])
        for (_, master), saved in zip(self._apart(), tensors["masters"], strict=True):
            master.copy_(saved)

    def _apart(self) -> list[tuple[nn.Parameter, nn.Parameter]]:
        """Weights whose master is another tensor, each with it."""
        return [
            (weight, master) for weight, master in zip(self.weights, self.masters, strict=True) if weight is not master
        ]

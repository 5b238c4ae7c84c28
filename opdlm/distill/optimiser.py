"""AdamW in fp32, whatever the weights are kept in.

In bf16 a weight near 1 cannot move by less than 0.004, hundreds of updates at the paper's learning rate. The optimiser
therefore holds fp32 masters of weights that are kept in less, sums their gradients over micro-batches and ranks in
fp32, and rounds the masters into the weights after each update.
"""

import math
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from opdlm.config.training import OptimiserSettings
from opdlm.distill.ranks import Ranks
from opdlm.model.qwen3 import Qwen3


class Optimiser:
    """One update at a time: `backward` for each part of the batch's loss, then `step`.

    Args:
        student: the model to train: those of its weights that want gradients.
        settings: of AdamW (spec 5.1).
        ranks: the processes whose gradients add up.
    """

    def __init__(self, student: Qwen3, settings: OptimiserSettings, ranks: Ranks) -> None:
        self.student, self.max_grad_norm, self.ranks = student, settings.max_grad_norm, ranks
        self.weights = [weight for weight in student.parameters() if weight.requires_grad]
        self.masters = [
            weight if weight.dtype == torch.float32 else nn.Parameter(weight.detach().float())
            for weight in self.weights
        ]
        self.master_of = dict(zip(self.weights, self.masters, strict=True))
        for weight in self._handing_over():
            weight.register_post_accumulate_grad_hook(while_alive(self._hand_over))
        self.adamw = torch.optim.AdamW(
            self.masters,
            lr=settings.lr,
            betas=(settings.beta1, settings.beta2),
            eps=settings.eps,
            weight_decay=settings.weight_decay,
            fused=self.weights[0].is_cuda,
        )

    def parts(self, mine: int) -> int:
        """In how many parts the batch's loss must come, if it has `mine` here: in any number."""
        return mine

    def backward(self, loss: Callable[[], Tensor]) -> Tensor:
        """Compute a part of the batch's loss and add its gradients to those of the parts before it; returns it."""
        part = loss()
        part.backward()
        return part.detach()

    @torch.no_grad()
    def step(self, lr: float) -> float:
        """Update the weights with learning rate `lr`, and forget the gradients.

        Returns:
            the norm of the gradients, summed over the ranks, before clipping; if it is not finite, nothing is updated.
        """
        self.ranks.sum_gradients(self.masters)
        norm = torch.nn.utils.clip_grad_norm_(self.masters, self.max_grad_norm).item()
        if math.isfinite(norm):
            for group in self.adamw.param_groups:
                group["lr"] = lr
            self.adamw.step()
            self._round()
        self.adamw.zero_grad(set_to_none=True)
        return norm

    def whole_student(self) -> Qwen3:
        """The student to decode with and to save: the one that is trained."""
        return self.student

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        masters = [master.data for _, master in self._apart()]
        return {**self.student_state(), "adamw": self.adamw.state_dict(), "masters": masters}

    @torch.no_grad()
    def load_state_dict(self, tensors: dict[str, Any]) -> None:
        """Take up the state of `state_dict`."""
        self.load_student_state(tensors)
        self.adamw.load_state_dict(tensors["adamw"])
        for (_, master), saved in zip(self._apart(), tensors["masters"], strict=True):
            master.copy_(saved)

    def student_state(self) -> dict[str, Any]:
        """The part of the state that the student's weights can be had from."""
        return {"student": self.student.state_dict()}

    def load_student_state(self, tensors: dict[str, Any]) -> None:
        """Take up the student's weights from the state."""
        self.student.load_state_dict(tensors["student"])

    def _round(self) -> None:
        """Round the masters into the weights."""
        for weight, master in self._apart():
            weight.copy_(master)

    def _handing_over(self) -> Iterable[nn.Parameter]:
        """Weights that hand each new gradient over as soon as it is there."""
        return (weight for weight, _ in self._apart())

    def _hand_over(self, weight: nn.Parameter) -> None:
        """Add a weight's new gradient to its master's: two sets of all gradients never exist."""
        master, gradient = self.master_of[weight], taken(weight).float()
        master.grad = gradient if master.grad is None else master.grad.add_(gradient)

    def _apart(self) -> list[tuple[nn.Parameter, nn.Parameter]]:
        """Weights whose master is another tensor, each with it."""
        return [(weight, master) for weight, master in self.master_of.items() if weight is not master]


def taken(weight: Tensor) -> Tensor:
    """A weight's gradient, which it no longer holds."""
    assert weight.grad is not None
    gradient, weight.grad = weight.grad, None
    return gradient


def while_alive(method: Callable[[Any], None]) -> Callable[[Any], None]:
    """A hook that does not keep the method's object: Python's collector does not see cycles through hooks."""
    reference = weakref.WeakMethod(method)

    def hook(weight: nn.Parameter) -> None:
        alive = reference()
        if alive is not None:
            alive(weight)

    return hook

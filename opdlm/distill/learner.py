"""How a student's weights are trained: all of them, shared out among the processes, or adapters alone."""

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from opdlm.config.hardware import Hardware
from opdlm.config.training import TrainSettings
from opdlm.distill.host_gradients import HostGradients
from opdlm.distill.lora import LoraOptimiser
from opdlm.distill.optimiser import Optimiser
from opdlm.distill.ranks import Ranks
from opdlm.distill.zero import ZeroOptimiser
from opdlm.errors import TrainingError
from opdlm.model.qwen3 import Qwen3


class Learner(Protocol):
    """One update at a time: `backward` for each part of the batch's loss, then `step`. All processes call the same."""

    def parts(self, mine: int) -> int:
        """In how many parts the batch's loss must come, if it has `mine` here."""
        ...

    def backward(self, loss: Callable[[], Tensor]) -> Tensor:
        """Compute a part of the batch's loss and add its gradients to those of the parts before it; returns it."""
        ...

    def step(self, lr: float) -> float:
        """Update the weights; returns the gradients' norm before clipping, and if it is not finite, updates nothing."""
        ...

    def whole_student(self) -> Qwen3:
        """The student to decode with and to save, on this process: the one that is trained, or a copy."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs, or this process's share of it."""
        ...

    def load_state_dict(self, tensors: dict[str, Any]) -> None:
        """Take up the state of `state_dict`."""
        ...


def make_learner(student: Qwen3, settings: TrainSettings, ranks: Ranks, hardware: Hardware) -> Learner:
    """The learner that the settings ask for.

    Raises:
        TrainingError: they ask for two things that do not go together, or for a package that is not installed.
    """
    if settings.lora and hardware.zero:
        raise TrainingError("train.lora goes without ZeRO: adapters have little to share out. Set hardware.zero to 0")
    if settings.lora and hardware.host_gradients:
        raise TrainingError("train.lora goes without hardware.host_gradients: adapters' gradients are small")
    if settings.lora:
        return LoraOptimiser(student, settings.lora, settings.seed, settings.optimiser, ranks)
    if hardware.zero:
        return ZeroOptimiser(student, settings.optimiser, ranks, hardware)
    if hardware.host_gradients:
        return HostGradients(student, settings.optimiser, ranks)
    return Optimiser(student, settings.optimiser, ranks)

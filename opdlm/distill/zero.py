"""The optimiser shared out among the processes: DeepSpeed's ZeRO (arXiv 1910.02054), stages 1 to 3.

DeepSpeed owns the weights' memory. It averages gradients over the processes where our losses add up, and it talks in
every backward pass, so all processes must make equally many. It is imported here only, when it is needed: that takes
seconds.
"""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import partial
from typing import Any

import torch
from torch import Tensor, distributed, nn

from opdlm.config.hardware import Hardware
from opdlm.config.training import OptimiserSettings
from opdlm.distill.ranks import Ranks
from opdlm.errors import TrainingError
from opdlm.model.qwen3 import Qwen3


class ZeroOptimiser:
    """What `Optimiser` is, with its state, gradients and weights shared out. All processes must call the same methods.

    Args:
        student: the model to train; its weights move into DeepSpeed's buffers.
        settings: of AdamW (spec 5.1).
        ranks: the processes.
        hardware: the stage, and whether the state lies in the host's memory.

    Raises:
        TrainingError: DeepSpeed is not installed.
    """

    def __init__(self, student: Qwen3, settings: OptimiserSettings, ranks: Ranks, hardware: Hardware) -> None:
        self.student, self.ranks, self.stage = student, ranks, hardware.zero
        self.deepspeed = _deepspeed(ranks)
        whole = _Whole(student)
        with redirect_stdout(None):  # it prints how much memory it takes
            self.engine, *_ = self.deepspeed.initialize(
                model=whole,
                model_parameters=list(student.parameters()),
                optimizer=partial(_adamw, settings, ranks.device.type == "cuda"),
                config=_config(student, settings.max_grad_norm, hardware),
                dist_init_required=False,
            )
        # The loss takes the head's weight and does not call the head.
        self.deepspeed.zero.register_external_parameter(whole, student.lm_head.weight)

    def parts(self, mine: int) -> int:
        """In how many parts the batch's loss must come, if it has `mine` here: the most that any process has."""
        return max(self.ranks.gather([mine]))

    def backward(self, loss: Callable[[], Tensor]) -> Tensor:
        """Compute a part of the batch's loss and add its gradients to those of the parts before it; returns it."""
        part = self.engine(loss)
        self.engine.backward(part * self.ranks.world)  # DeepSpeed takes the mean over the processes, and we the sum
        return part.detach()

    def step(self, lr: float) -> float:
        """Update the weights with learning rate `lr`, and forget the gradients.

        Returns:
            the norm of the gradients, summed over the ranks, before clipping; if it is not finite, nothing is updated.
        """
        for group in self.engine.basic_optimizer.param_groups:
            group["lr"] = lr
        self.engine.step()
        return float(self.engine.get_global_grad_norm()) if self.engine.was_step_applied() else math.inf

    def whole_student(self) -> Qwen3:
        """A copy of the student with weights of its own, on the same device."""
        with torch.device("meta"):
            copy = Qwen3(self.student.shape)
        weights = dict(self._weights())
        if copy.shape.tie_word_embeddings:
            weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
        copy.load_state_dict(weights, assign=True)
        if copy.shape.tie_word_embeddings:
            copy.lm_head.weight = copy.model.embed_tokens.weight
        return copy.requires_grad_(False).eval()

    def _weights(self) -> Iterator[tuple[str, Tensor]]:
        """Copies of the weights, one after the other: in stage 3 only one at a time is gathered."""
        for name, parameter in self.student.named_parameters():
            with self.deepspeed.zero.GatheredParameters([parameter]):
                yield name, parameter.detach().clone()

    def state_dict(self) -> dict[str, Any]:
        """This process's share of what a resumed run needs; the weights can be had from it."""
        state = self.engine.optimizer.state_dict()
        return {key: state[key] for key in _SHARE[self.stage]}

    def load_state_dict(self, tensors: dict[str, Any]) -> None:
        """Take up the state of this process's `state_dict`, and the weights that belong to it."""
        optimizer = self.engine.optimizer
        state = optimizer.state_dict() | tensors
        optimizer.load_state_dict([state] * self.ranks.world, load_optimizer_states=True, load_from_fp32_weights=True)
        if self.stage == 3:
            optimizer.checkpoint_event_epilogue()  # small weights are whole everywhere, and are gathered anew here
        else:
            optimizer.update_lp_params()


_SHARE = dict.fromkeys((1, 2), ("base_optimizer_state", "single_partition_of_fp32_groups"))
_SHARE[3] = ("optimizer_state_dict", "fp32_flat_groups")
"""By stage, the tensors in the state of DeepSpeed's optimisers; the rest are constants of the run."""


class _Whole(nn.Module):
    """The student as DeepSpeed's module: a part of the loss is computed within its forward pass."""

    def __init__(self, student: Qwen3) -> None:
        super().__init__()
        self.student = student

    def forward(self, loss: Callable[[], Tensor]) -> Tensor:
        return loss()


def _adamw(settings: OptimiserSettings, fused: bool, parameters: list[nn.Parameter]) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        parameters,
        lr=settings.lr,
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=fused,
    )


def _config(student: Qwen3, max_grad_norm: float, hardware: Hardware) -> dict[str, Any]:
    """DeepSpeed's configuration. What concerns batches is without meaning: the trainer says when an update is due."""
    zero: dict[str, Any] = {"stage": hardware.zero, "overlap_comm": False}
    if hardware.zero == 3:
        # Vectors stay whole, and matrices come and go: in a small model, of a test, as in a large one.
        zero |= {"stage3_param_persistence_threshold": student.shape.hidden_size, "stage3_max_reuse_distance": 0}
    if hardware.offload:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": max_grad_norm,
        "zero_optimization": zero,
        "zero_force_ds_cpu_optimizer": False,  # PyTorch's, also for a state on the CPU: DeepSpeed's is compiled
    }
    if student.lm_head.weight.dtype == torch.bfloat16:
        config["bf16"] = {"enabled": True, "check_grad_overflow": True, "immediate_grad_update": True}
        config["data_types"] = {"grad_accum_dtype": "fp32"}
        config["communication_data_type"] = "fp32"
    return config


def _deepspeed(ranks: Ranks) -> Any:
    """The imported package, told which devices to use.

    Raises:
        TrainingError: it is not installed.
    """
    try:
        import deepspeed
    except ModuleNotFoundError as error:
        raise TrainingError(f"ZeRO needs DeepSpeed, which is not installed ({error}): make setup-gpu") from None
    if ranks.device.type == "cpu":
        from deepspeed.accelerator.cpu_accelerator import CPU_Accelerator

        deepspeed.accelerator.set_accelerator(CPU_Accelerator())
        # Without this it compiles an extension for processes that talk over shared memory; PyTorch's gloo will do.
        deepspeed.ops.__compatible_ops__ = {}
    if not distributed.is_initialized():
        backend = "nccl" if ranks.device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, store=distributed.HashStore(), rank=0, world_size=1)
    os.environ.setdefault("LOCAL_RANK", "0")  # torchrun sets it; DeepSpeed will not start without
    return deepspeed

"""Low-rank adapters (LoRA, arXiv 2106.09685): the student's weights stay, small additions to its products are trained.

peft makes the adapters. It is imported here only, when it is needed: it is an optional part of the installation.
"""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from opdlm.config.training import LoraSettings, OptimiserSettings
from opdlm.distill.optimiser import Optimiser
from opdlm.distill.ranks import Ranks
from opdlm.errors import TrainingError
from opdlm.model.qwen3 import Qwen3

ADAPTER = "default"
"""What peft calls an adapter that nobody names."""


class Adapters:
    """The adapters of a student, which are put into it: from then on they alone want gradients.

    They have the precision of the student's weights: in bf16 the optimiser holds masters of them.

    Args:
        student: the model to train.
        settings: rank, scale, and which products.
        seed: of their first values. The student computes the same as before: they begin at zero.

    Raises:
        TrainingError: peft is not installed.
    """

    def __init__(self, student: Qwen3, settings: LoraSettings, seed: int) -> None:
        peft = _peft()
        config = peft.LoraConfig(
            r=settings.rank, lora_alpha=settings.alpha, lora_dropout=0.0, target_modules=settings.targets
        )
        with torch.random.fork_rng(devices=[]):  # peft draws on the CPU, from the global generator
            torch.manual_seed(seed)
            peft.inject_adapter_in_model(config, student, ADAPTER)
        self.student = student
        self.layers: dict[str, Any] = {
            name: module for name, module in student.named_modules() if isinstance(module, peft.tuners.lora.LoraLayer)
        }

    @torch.no_grad()
    def whole_student(self) -> Qwen3:
        """The student as a plain model to decode with and to save: the adapters are added to its weights.

        Weights with an adapter have memory of their own, so the student's stay as they are to the last bit; the others
        are the student's.
        """
        weights = {
            name.replace(".base_layer.", "."): tensor.detach()
            for name, tensor in self.student.state_dict().items()
            if ".lora_" not in name
        }
        weights.update({f"{name}.weight": _added(layer) for name, layer in self.layers.items()})
        with torch.device("meta"):
            plain = Qwen3(self.student.shape)
        plain.load_state_dict(weights, assign=True)
        if plain.shape.tie_word_embeddings:
            plain.lm_head.weight = plain.model.embed_tokens.weight
        return plain.requires_grad_(False).eval()

    def state_dict(self) -> dict[str, Tensor]:
        """The adapters by their names in the student; `whole_student` cannot be taken apart again."""
        return {name: tensor for name, tensor in self.student.state_dict().items() if ".lora_" in name}

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up the state of `state_dict`.

        Raises:
            TrainingError: it is that of other adapters.
        """
        if tensors.keys() != self.state_dict().keys():
            raise TrainingError("the checkpoint holds other adapters than train.lora asks for: delete it to begin anew")
        self.student.load_state_dict(tensors, strict=False)


class LoraOptimiser(Optimiser):
    """`Optimiser` of a student's adapters.

    Args:
        student: the model to train.
        lora: the adapters that it gets.
        seed: of their first values.
        settings, ranks: as for `Optimiser`.
    """

    def __init__(
        self, student: Qwen3, lora: LoraSettings, seed: int, settings: OptimiserSettings, ranks: Ranks
    ) -> None:
        self.adapters = Adapters(student, lora, seed)
        super().__init__(student, settings, ranks)

    def whole_student(self) -> Qwen3:
        """A copy of the student with the adapters in its weights."""
        return self.adapters.whole_student()

    def student_state(self) -> dict[str, Any]:
        """The adapters: the student's own weights stay as they are."""
        return {"adapters": self.adapters.state_dict()}

    def load_student_state(self, tensors: dict[str, Any]) -> None:
        """Take up the adapters from the state."""
        self.adapters.load_state_dict(tensors["adapters"])


def _added(layer: Any) -> Tensor:
    """The weight of a layer with its adapter in it, summed in fp32."""
    weight = layer.base_layer.weight
    return (weight.float() + layer.get_delta_weight(ADAPTER).float()).to(weight.dtype)


def _peft() -> ModuleType:
    try:
        import peft
    except ImportError as error:
        raise TrainingError(f"train.lora needs peft ({error}): pip install 'opdlm[lora]'") from None
    return peft

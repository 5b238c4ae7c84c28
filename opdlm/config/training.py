"""Settings of the distillation, and the two recipes."""

from typing import Any, Literal

from pydantic import Field

from opdlm.config.base import Name, Strict
from opdlm.config.decoding import DecodingSettings
from opdlm.config.models import ConvertSettings
from opdlm.config.wording import Wording

Objective = Literal["on_policy", "random_mask", "off_policy_kd", "sft"]
Projection = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Ramp(Strict):
    """A value that holds at `start` for `hold` rollouts, then goes to `end` within `steps` more."""

    start: float
    end: float
    steps: int = Field(gt=0)
    hold: int = Field(default=0, ge=0)
    shape: Literal["cos", "sin", "linear"] = "cos"


class DivergenceSettings(Strict):
    """Distance of the student from the teacher at one position (spec 4.5)."""

    kind: Literal["kl", "jsd"] = "kl"
    reverse_weight: float = Field(default=0.0, ge=0, le=1, description="kl: 0 forward, 1 reverse, between a mixture")
    alpha: float = Field(default=0.5, gt=0, lt=1, description="jsd: weight of the teacher in the mixture")
    top_k: int = Field(default=0, ge=0, description="restrict sums to the teacher's top k tokens; 0 = full vocabulary")


class OptimiserSettings(Strict):
    """AdamW with warm-up and cosine decay (spec 5.1, 5.2)."""

    lr: float = Field(default=1e-5, gt=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup_rollouts: int = Field(default=5, ge=0)
    min_lr_scale: float = Field(default=0.1, ge=0, le=1)
    max_grad_norm: float = Field(default=1.0, gt=0)


class LoraSettings(Strict):
    """Low-rank adapters in place of full training. There is no dropout: it would draw from a generator of its own."""

    rank: int = Field(default=16, gt=0)
    alpha: float = Field(default=32.0, gt=0, description="the adapters' products are scaled by alpha / rank")
    targets: list[Projection] = Field(
        default=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], min_length=1
    )


class TrainSettings(Strict):
    """The distillation of one student."""

    objective: Objective = "on_policy"
    rollouts: int | None = Field(default=None, gt=0, description="null: data_epochs over the prompts")
    data_epochs: int = Field(default=1, gt=0)
    prompts_per_rollout: int = Field(default=128, gt=0)
    batch_size: int = Field(default=8, gt=0, description="answers an optimiser update")
    inner_epochs: int = Field(default=1, gt=0, description="passes over each rollout, each with freshly drawn states")
    micro_batch_tokens: int = Field(default=16384, gt=0, description="packed tokens a forward pass")
    decoding: DecodingSettings = DecodingSettings(strategy="dynamic", temperature=1.0)
    thinking: bool = False
    max_tokens: Ramp = Ramp(start=100, end=4000, steps=100)
    domain_caps: dict[str, int] = {"math": 4096, "code": 2048, "chat": 2048, "science": 1024}
    threshold: Ramp | None = None
    divergence: DivergenceSettings = DivergenceSettings()
    end_of_answer: Literal["exclude", "include", "fill"] = Field(
        default="exclude",
        description="loss at the end-of-answer token: none; the teacher's; or also end tokens after it in its block",
    )
    optimiser: OptimiserSettings = OptimiserSettings()
    lora: LoraSettings | None = Field(default=None, description="null: all weights are trained")
    precision: Literal["bf16", "fp32"] = Field(
        default="bf16", description="of weights and activations; sums, losses and the optimiser are always in fp32"
    )
    seed: int = 10086
    save_every: int = Field(default=10, gt=0, description="rollouts between checkpoints")


class TrainStage(Strict):
    """What a student's weights depend on, beside its teacher, its initialisation and its prompts."""

    train: TrainSettings
    prompt: Wording
    max_prompt_tokens: int


class RunSettings(Strict):
    """A student: which teacher, which prompts, which recipe and what it changes of the recipe."""

    teacher: Name
    base: Name | None = Field(default=None, description="the teacher whose conversion it starts from; null: its own")
    prompts: Name
    recipe: Literal["paper", "best"] = "paper"
    convert: ConvertSettings = ConvertSettings()
    train: dict[str, Any] = {}


RECIPES: dict[str, dict[str, Any]] = {
    "paper": {},
    "best": {
        "prompts_per_rollout": 64,
        "batch_size": 16,
        "inner_epochs": 4,
        "end_of_answer": "fill",
        "optimiser": {"lr": 7e-4, "beta2": 0.95, "min_lr_scale": 0.02},
    },
}
"""What each recipe changes of the defaults of `TrainSettings` (which are the published launchers')."""


def train_settings(run: RunSettings) -> TrainSettings:
    """The recipe's values, overridden by the run's own."""
    return TrainSettings.model_validate(merged(RECIPES[run.recipe], run.train))


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, key by key at every depth."""
    result = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result

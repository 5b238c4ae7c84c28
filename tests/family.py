"""A teacher, its conversion and prompts on disk, small enough to train in a test."""

from dataclasses import dataclass
from pathlib import Path

import torch

from opdlm.config.models import ConvertSettings, PretrainSettings, TinyArchitecture
from opdlm.config.training import TrainSettings, TrainStage, merged
from opdlm.config.wording import PLAIN
from opdlm.data.tiny import rows
from opdlm.distill.judging import JudgeProcess
from opdlm.distill.loop import train
from opdlm.distill.pretrain import pretrain
from opdlm.files import write_jsonl
from opdlm.model.checkpoint import read_weights
from opdlm.model.convert import convert

SMALL = TinyArchitecture(
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    max_position_embeddings=256,
)


@dataclass(frozen=True)
class Family:
    teacher: Path
    student: Path
    prompts: Path


def make_family(folder: Path) -> Family:
    """A briefly trained teacher of a few thousand weights."""
    family = Family(folder / "teacher", folder / "student", folder / "prompts.jsonl")
    settings = PretrainSettings(architecture=SMALL, tasks=["TinyMath", "TinyCode"], steps=80, batch_size=8, lr=1e-2)
    pretrain(settings, family.teacher)
    convert(family.teacher, family.student, ConvertSettings(mask_init="mean"))
    write_jsonl(family.prompts, rows(["TinyMath", "TinyCode"], "train", 20, seed=1))
    return family


def small_stage(**changes: object) -> TrainStage:
    """A run of eight rollouts of four prompts, two updates each."""
    base = {
        "rollouts": 8,
        "prompts_per_rollout": 4,
        "batch_size": 2,
        "max_tokens": {"start": 4, "end": 12, "steps": 4, "shape": "linear"},
        "optimiser": {"lr": 1e-3, "warmup_rollouts": 1},
        "precision": "fp32",
        "save_every": 2,
    }
    train = TrainSettings.model_validate(merged(base, dict(changes)))
    return TrainStage(train=train, prompt=PLAIN, max_prompt_tokens=100)


def run(family: Family, stage: TrainStage, folder: Path) -> Path:
    """Train in `folder`; returns the model folder."""
    with JudgeProcess("opdlm.evaluate.judge") as judge:
        train(stage, family.teacher, family.student, family.prompts, folder / "state", folder / "out", judge=judge)
    return folder / "out"


def assert_same_result(first: Path, second: Path) -> None:
    """Losses and weights of two model folders are the same, bit for bit."""
    assert (first / "metrics.jsonl").read_bytes() == (second / "metrics.jsonl").read_bytes()
    one, other = read_weights(first), read_weights(second)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)

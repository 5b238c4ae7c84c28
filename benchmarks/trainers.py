"""The trainer with random weights in the place of model folders."""

from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from models import random_model, random_prompts, variant

from opdlm.config.hardware import Hardware
from opdlm.config.training import TrainSettings, TrainStage
from opdlm.config.wording import PLAIN
from opdlm.data.rows import Row
from opdlm.distill import trainer as trainer_module
from opdlm.distill.prompts import Prompt
from opdlm.distill.trainer import Trainer
from opdlm.model.shape import DEFAULT_BLOCK_SIZE, Shape

PROMPT = 128
"""Tokens of a prompt."""
NO_CAP = 10**9


def make_trainer(shape: Shape, settings: dict[str, Any], hardware: Hardware, device: torch.device) -> Trainer:
    """A trainer whose student and teacher are of one shape; bf16 with an fp32 optimiser, on a CPU fp32.

    Args:
        shape: of both models.
        settings: what is changed of the training settings' defaults.
        hardware: as for `Trainer`.
        device: as for `Trainer`.
    """
    precision = "bf16" if device.type == "cuda" else "fp32"
    train = TrainSettings.model_validate({"precision": precision, **settings})
    teacher, student = random_model(shape, device), variant(random_model(shape, device), DEFAULT_BLOCK_SIZE)
    ids = random_prompts(shape, train.prompts_per_rollout, PROMPT)
    prompts = [Prompt(prompt, NO_CAP, Row(question="")) for prompt in ids]
    replaced = {
        "load_model": mock.Mock(side_effect=[teacher, student.requires_grad_(True)]),
        "load_tokenizer": lambda _: SimpleNamespace(eos_token_id=0),
        "stop_ids": lambda _: [],
        "load_prompts": lambda *_: prompts,
    }
    stage, nowhere = TrainStage(train=train, prompt=PLAIN, max_prompt_tokens=PROMPT), Path()
    with ExitStack() as patches:
        for name, value in replaced.items():
            patches.enter_context(mock.patch.object(trainer_module, name, value))
        return Trainer(stage, nowhere, nowhere, nowhere, str(device), hardware=hardware)

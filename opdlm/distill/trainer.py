"""The parts of a distillation step: answers, the teacher's reading of them, one update."""

import math
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from opdlm.chat import stop_ids
from opdlm.config.decoding import DecodingSettings
from opdlm.config.training import TrainStage
from opdlm.decode.engine import Engine
from opdlm.decode.request import Request, Rollout
from opdlm.distill.divergence import chunked_loss, divergence, negative_log_likelihood
from opdlm.distill.prompts import load_prompts, order
from opdlm.distill.rows import Answer, Pack, grouped, packs, training_row
from opdlm.distill.schedules import max_tokens, ramp, warmup_cosine
from opdlm.distill.states import close_block, random_state, realised_state
from opdlm.errors import CheckpointError, TrainingError
from opdlm.model.attention import causal
from opdlm.model.checkpoint import load_model, load_tokenizer
from opdlm.model.qwen3 import Qwen3


@dataclass(frozen=True, slots=True)
class Reading:
    """The teacher's hidden states that predict the answers' tokens, `[tokens, hidden]`.

    Hidden states, not logits: a row of them is a few kilobytes where a row of logits is half a megabyte.
    """

    hidden: Tensor
    starts: list[int]
    """Index of each answer's first state."""


class Trainer:
    """Student, teacher, optimiser, and what they are trained on."""

    def __init__(self, stage: TrainStage, teacher: Path, student: Path, prompts: Path, device: str) -> None:
        self.settings = stage.train
        tokenizer = load_tokenizer(student)
        self.stop_ids, self.end_token = stop_ids(tokenizer), tokenizer.eos_token_id
        self.prompts = load_prompts(prompts, stage, tokenizer)
        self.teacher = load_model(teacher, torch.float32, device).requires_grad_(False)
        self.student = load_model(student, torch.float32, device)
        self.block_size, self.mask_token = block_geometry(self.student, student)
        optimiser = self.settings.optimiser
        self.optimiser = torch.optim.AdamW(
            self.student.parameters(),
            lr=optimiser.lr,
            betas=(optimiser.beta1, optimiser.beta2),
            eps=optimiser.eps,
            weight_decay=optimiser.weight_decay,
        )

    # Plan

    @property
    def total_rollouts(self) -> int:
        """Rollouts of the whole run."""
        needed = math.ceil(len(self.prompts) * self.settings.data_epochs / self.settings.prompts_per_rollout)
        return self.settings.rollouts or needed

    @property
    def updates_per_epoch(self) -> int:
        """Optimiser updates in one pass over a rollout."""
        return math.ceil(self.settings.prompts_per_rollout / self.settings.batch_size)

    def learning_rate(self, update: int) -> float:
        """Learning rate of an update, counted from 0 (spec 5.2)."""
        per_rollout = self.updates_per_epoch * self.settings.inner_epochs
        optimiser = self.settings.optimiser
        total = per_rollout * self.total_rollouts + 1
        warmup = per_rollout * optimiser.warmup_rollouts
        return optimiser.lr * warmup_cosine(update, warmup, total, optimiser.min_lr_scale)

    def max_tokens(self, rollout: int) -> int:
        """Longest answer of a rollout, counted from 1 (spec 5.3)."""
        return max_tokens(self.settings.max_tokens, rollout, self.block_size)

    def decoding(self, rollout: int) -> DecodingSettings:
        """How the answers of a rollout are written: by the student, or by the teacher for off-policy objectives."""
        decoding = self.settings.decoding
        if self.settings.objective in ("off_policy_kd", "sft"):
            return decoding.model_copy(update={"strategy": "autoregressive"})
        if self.settings.threshold is not None:
            return decoding.model_copy(update={"threshold": ramp(self.settings.threshold, rollout)})
        return decoding

    # Step

    def write_answers(self, rollout: int) -> list[Rollout]:
        """Answers to the rollout's prompts, with their trajectories."""
        count, limit = self.settings.prompts_per_rollout, self.max_tokens(rollout)
        decoding = self.decoding(rollout)
        requests = []
        for place, index in enumerate(order(len(self.prompts), self.settings.seed, (rollout - 1) * count, count)):
            prompt = self.prompts[index]
            seed = int(np.random.default_rng([self.settings.seed, rollout, place]).integers(2**62))
            requests.append(Request(prompt.ids, min(limit, prompt.cap), seed))
        if decoding.strategy != "autoregressive":
            return Engine(self.student, self.stop_ids, count).generate(requests, decoding)
        written = Engine(self.teacher, self.stop_ids, count).generate(requests, decoding)
        return [close_block(answer, self.block_size, self.end_token) for answer in written]

    @torch.no_grad()
    def read_by_teacher(self, answers: list[Rollout]) -> Reading:
        """One causal pass of the teacher over prompts and answers, packed like training rows.

        The target of an answer's token is the distribution after the token before it (spec 4.4), so the states kept are
        those of the last prompt token and of all answer tokens but the last.
        """
        rows = [[*answer.prompt, *answer.ids[:-1]] for answer in answers]
        hidden = []
        for group in grouped(rows, len, self.settings.micro_batch_tokens):
            lengths = [len(row) for row in group]
            ids = torch.tensor([token for row in group for token in row], device=self.teacher.device)
            positions = torch.cat([torch.arange(length, device=ids.device) for length in lengths])
            hidden += self.teacher(ids, positions, causal(lengths)).split(lengths)
        kept = [states[len(answer.prompt) - 1 :] for states, answer in zip(hidden, answers, strict=True)]
        ends = list(accumulate(len(states) for states in kept))
        return Reading(torch.cat(kept), [0, *ends[:-1]])

    def update(
        self, answers: list[Rollout], reading: Reading, batch: list[int], update: int, rng: np.random.Generator
    ) -> tuple[float, float]:
        """One optimiser update on the answers of `batch`, each in a freshly drawn state.

        Returns:
            loss and gradient norm before clipping.

        Raises:
            TrainingError: one of them is not finite; the weights are as before.
        """
        settings = self.settings
        sample_state = realised_state if settings.objective == "on_policy" else random_state
        rows = [
            Answer(
                training_row(
                    answers[index], self.block_size, self.mask_token, sample_state, settings.end_of_answer, rng
                ),
                answers[index].ids,
                reading.starts[index],
            )
            for index in batch
        ]
        loss = 0.0
        for pack in packs(rows, settings.micro_batch_tokens, self.block_size, self.end_token, self.student.device):
            pack_loss = self.loss(pack, reading)
            pack_loss.backward()
            loss += pack_loss.item()
        norm = torch.nn.utils.clip_grad_norm_(self.student.parameters(), settings.optimiser.max_grad_norm).item()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise TrainingError(
                f"update {update}: loss {loss}, gradient norm {norm}; the last checkpoint is intact. "
                f"Try a lower train.optimiser.lr (now {settings.optimiser.lr})"
            )
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate(update)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return loss, norm

    def loss(self, pack: Pack, reading: Reading) -> Tensor:
        """The pack's share of the batch's loss: the weighted sum over its masked positions."""
        hidden = self.student(pack.ids, pack.positions, pack.attend)[pack.places]
        taught = pack.teacher_rows >= 0
        if self.settings.objective == "sft":
            taught = torch.zeros_like(taught)

        def chunk_loss(logits: Tensor, chunk: slice) -> Tensor:
            by_teacher, rows, weights = taught[chunk], pack.teacher_rows[chunk], pack.weights[chunk]
            targets = self.teacher.logits(reading.hidden[rows[by_teacher]])
            distance = divergence(logits[by_teacher], targets, self.settings.divergence)
            likelihood = negative_log_likelihood(logits[~by_teacher], pack.tokens[chunk][~by_teacher])
            return (distance * weights[by_teacher]).sum() + (likelihood * weights[~by_teacher]).sum()

        return chunked_loss(hidden, self.student.lm_head.weight, chunk_loss)

    # State

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs beside its counters."""
        return {"student": self.student.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, tensors: dict[str, Any]) -> None:
        """Take up the state of `state_dict`."""
        self.student.load_state_dict(tensors["student"])
        self.optimiser.load_state_dict(tensors["optimiser"])


def block_geometry(model: Qwen3, folder: Path) -> tuple[int, int]:
    """Block size and mask token of a block-diffusion model.

    Raises:
        CheckpointError: the model is not one.
    """
    if model.shape.block_size is None or model.shape.mask_token_id is None:
        raise CheckpointError(f"{folder} is not a block-diffusion model: convert it first (opdlm convert)")
    return model.shape.block_size, model.shape.mask_token_id

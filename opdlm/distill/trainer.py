"""The parts of a distillation step: answers, the teacher's reading of them, one update."""

import math
from collections.abc import Iterator
from functools import partial
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from opdlm.chat import stop_ids
from opdlm.config.decoding import DecodingSettings
from opdlm.config.hardware import ALONE, Hardware
from opdlm.config.training import TrainStage
from opdlm.decode.engine import Engine
from opdlm.decode.request import Request, Rollout
from opdlm.distill import flops
from opdlm.distill.checkpoint import Shared
from opdlm.distill.divergence import chunked_loss, divergence_in_chunk, negative_log_likelihood
from opdlm.distill.learner import make_learner
from opdlm.distill.meter import Meter
from opdlm.distill.prompts import load_prompts, order
from opdlm.distill.ranks import Ranks, shares
from opdlm.distill.rows import Answer, Pack, TrainingRow, grouped, packs, training_row
from opdlm.distill.schedules import max_tokens, ramp, warmup_cosine
from opdlm.distill.states import close_block, random_state, realised_state
from opdlm.distill.tally import Tally, Update, by_tenth, masked_fraction
from opdlm.errors import CheckpointError, TrainingError
from opdlm.model.attention import causal
from opdlm.model.checkpoint import load_model, load_tokenizer
from opdlm.model.qwen3 import Qwen3


class Reading:
    """What the teacher thinks of a rollout's answers: its hidden states, read when they are first asked for and kept.

    Hidden states, not logits: a row of them is a few kilobytes where a row of logits is half a megabyte.

    Args:
        teacher: the frozen autoregressive model.
        answers: of one rollout.
        budget: most tokens of a forward pass.
    """

    def __init__(self, teacher: Qwen3, answers: list[Rollout], budget: int) -> None:
        self.teacher, self.answers, self.budget = teacher, answers, budget
        self.states: dict[int, Tensor] = {}
        self.forward = teacher.inference()

    def of(self, chosen: list[int]) -> tuple[Tensor, list[int]]:
        """The states that predict the tokens of some answers (by index).

        The target of an answer's token is the distribution after the token before it (spec 4.4), so these are the
        states of the last prompt token and of all answer tokens but the last.

        Returns:
            `[tokens, hidden]`, and the index of each answer's first state.
        """
        self._read([index for index in chosen if index not in self.states])
        states = [self.states[index] for index in chosen]
        ends = list(accumulate(len(part) for part in states))
        nothing = self.teacher.lm_head.weight.new_empty(0, self.teacher.shape.hidden_size)
        return torch.cat([nothing, *states]), [0, *ends][: len(chosen)]

    @torch.no_grad()
    def _read(self, unread: list[int]) -> None:
        """Causal passes over prompts and answers, packed like training rows."""
        rows = {index: [*self.answers[index].prompt, *self.answers[index].ids[:-1]] for index in unread}
        for group in grouped(unread, lambda index: len(rows[index]), self.budget):
            lengths = [len(rows[index]) for index in group]
            ids = torch.tensor([token for index in group for token in rows[index]], device=self.teacher.device)
            positions = torch.cat([torch.arange(length, device=ids.device) for length in lengths])
            hidden = self.forward(ids, positions, causal(lengths)).split(lengths)
            for index, states in zip(group, hidden, strict=True):
                self.states[index] = states[len(self.answers[index].prompt) - 1 :]


class Trainer:
    """Student, teacher, optimiser, and what they are trained on."""

    def __init__(
        self,
        stage: TrainStage,
        teacher: Path,
        student: Path,
        prompts: Path,
        device: str,
        ranks: Ranks | None = None,
        hardware: Hardware = ALONE,
    ) -> None:
        self.settings, self.ranks = stage.train, ranks or Ranks(device=device)
        self.shared = Shared(self.ranks, hardware.zero)
        self.tokenizer = load_tokenizer(student)
        self.stop_ids, self.end_token = stop_ids(self.tokenizer), self.tokenizer.eos_token_id
        self.prompts = load_prompts(prompts, stage, self.tokenizer)
        precision = {"fp32": torch.float32, "bf16": torch.bfloat16}[self.settings.precision]
        self.teacher = load_model(teacher, precision, self.ranks.device).requires_grad_(False)
        self.student = load_model(student, precision, self.ranks.device)
        if self.student.device.type == "cuda" and hardware.zero < 3:  # there DeepSpeed's hooks lie between the parts
            self.student.compile_parts()
        self.block_size, self.mask_token = block_geometry(self.student, student)
        self.student.recomputed = hardware.recomputed_layers
        self.learner = make_learner(self.student, self.settings, self.ranks, hardware)
        self.meter = Meter(self.ranks.device)

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
        self.meter.ends("other")
        count, limit = self.settings.prompts_per_rollout, self.max_tokens(rollout)
        decoding = self.decoding(rollout)
        requests = []
        for place, index in enumerate(order(len(self.prompts), self.settings.seed, (rollout - 1) * count, count)):
            prompt = self.prompts[index]
            seed = int(np.random.default_rng([self.settings.seed, rollout, place]).integers(2**62))
            requests.append(Request(prompt.ids, min(limit, prompt.cap), seed))
        dealt = shares([len(request.prompt) + request.max_tokens for request in requests], self.ranks.world)
        mine = dealt[self.ranks.rank]
        writer = self.teacher if decoding.strategy == "autoregressive" else self.learner.whole_student()
        written = Engine(writer, self.stop_ids, count).generate([requests[place] for place in mine], decoding)
        if writer is self.teacher:
            written = [close_block(answer, self.block_size, self.end_token) for answer in written]
        gathered = self.ranks.gather(list(zip(mine, written, strict=True)))
        answers = [answer for _, answer in sorted(gathered, key=lambda pair: pair[0])]
        self.meter.ends("rollout", flops.forward(writer.shape, flops.writing(answers, writer.shape.block_size)))
        return answers

    def read_by_teacher(self, answers: list[Rollout]) -> Reading:
        """One causal pass of the teacher over prompts and answers; each process reads those it trains on.

        On a CPU every answer is read alone: a resumed run would otherwise read others together with it, and differ in
        the last bits.
        """
        self.meter.ends("reading", flops.forward(self.teacher.shape, flops.reading(answers)))
        alone = self.teacher.device.type == "cpu"
        return Reading(self.teacher, answers, 1 if alone else self.settings.micro_batch_tokens)

    def update(
        self, answers: list[Rollout], reading: Reading, batch: list[int], update: int, rng: np.random.Generator
    ) -> Update:
        """One optimiser update on the answers of `batch`, each in a freshly drawn state.

        Raises:
            TrainingError: loss or gradient norm is not finite; the weights are as before.
        """
        settings = self.settings
        sample_state = realised_state if settings.objective == "on_policy" else random_state
        # Every process draws the states of the whole batch, so that they do not depend on how it is shared.
        rows = [
            training_row(answers[index], self.block_size, self.mask_token, sample_state, settings.end_of_answer, rng)
            for index in batch
        ]
        mine = shares([len(row.ids) for row in rows], self.ranks.world)[self.ranks.rank]
        hidden, starts = reading.of([batch[place] for place in mine])
        self.meter.ends("reading")
        chosen = [
            Answer(rows[place], answers[batch[place]].ids, start) for place, start in zip(mine, starts, strict=True)
        ]
        tally = Tally(mine, len(batch), self.student.device)
        for pack in self.packs(chosen, len(batch)):
            losses = torch.zeros_like(pack.weights)
            tally.add(pack, self.learner.backward(partial(self.loss, pack, hidden, losses)), losses)
        loss, by_answer = tally.over(self.ranks)
        self.meter.ends("gradients", self.flops(rows))
        norm = self.learner.step(self.learning_rate(update)) if math.isfinite(loss) else math.nan
        if not math.isfinite(norm):
            raise TrainingError(
                f"update {update}: loss {loss}, gradient norm {norm}; the last checkpoint is intact. "
                f"Try a lower train.optimiser.lr (now {settings.optimiser.lr})"
            )
        self.meter.ends("step")
        masked = [masked_fraction(row, answers[i], self.mask_token) for row, i in zip(rows, batch, strict=True)]
        return Update(loss, by_tenth(by_answer, masked), norm, len(batch), sum(len(row.ids) for row in rows))

    def flops(self, rows: list[TrainingRow]) -> int:
        """Operations of an update: the student's passes over its rows, and the teacher's logits for them."""
        taught = 0 if self.settings.objective == "sft" else sum(int((row.answer_index >= 0).sum()) for row in rows)
        spent = flops.update(self.student.shape, flops.in_rows(rows, self.block_size), self.student.recomputed)
        return spent + flops.head(self.teacher.shape, taught)

    def packs(self, mine: list[Answer], batch: int) -> Iterator[Pack]:
        """This process's packs of a batch of `batch` answers, and idle ones as long as another process has more.

        An idle pack is one block without loss: zero, with a gradient of zero for every weight.
        """
        budget = self.settings.micro_batch_tokens
        cut = partial(
            packs, budget=budget, block_size=self.block_size, end_token=self.end_token, device=self.student.device
        )
        count = sum(1 for _ in grouped(mine, lambda answer: len(answer.row.ids), budget))
        missing = self.learner.parts(count) - count
        yield from cut(mine, batch)
        for _ in range(missing):
            yield from cut([Answer(idle_row(self.block_size), [], 0)], batch)

    def loss(self, pack: Pack, by_teacher: Tensor, losses: Tensor) -> Tensor:
        """The pack's share of the batch's loss: the weighted sum over its masked positions.

        Args:
            pack: training rows.
            by_teacher: the teacher's hidden states, `[tokens, hidden]`.
            losses: takes the loss at each position, without its weight and its gradient, `[losses]`.
        """
        hidden = self.student(pack.ids, pack.positions, pack.attend)[pack.places]
        taught = 0 if self.settings.objective == "sft" else pack.taught

        def chunk_loss(logits: Tensor, chunk: slice) -> Tensor:
            count = min(max(0, taught - chunk.start), len(logits))
            targets = self.teacher.logits(by_teacher[pack.teacher_rows[chunk][:count]])
            with_target, without = logits.split([count, len(logits) - count])
            distances = torch.cat(
                [
                    divergence_in_chunk(with_target, targets, self.settings.divergence),
                    negative_log_likelihood(without, pack.tokens[chunk][count:]),
                ]
            )
            losses[chunk] = distances.detach()
            return (distances * pack.weights[chunk]).sum()

        return chunked_loss(hidden, self.student.lm_head.weight, chunk_loss)


def idle_row(block_size: int) -> TrainingRow:
    """One block, none of whose places carries loss."""
    nothing = np.empty(0, dtype=np.int64)
    return TrainingRow(
        ids=np.zeros(block_size, dtype=np.int64),
        positions=np.arange(block_size),
        noised=np.ones(block_size, dtype=np.bool_),
        loss_places=nothing,
        answer_index=nothing,
    )


def block_geometry(model: Qwen3, folder: Path) -> tuple[int, int]:
    """Block size and mask token of a block-diffusion model.

    Raises:
        CheckpointError: the model is not one.
    """
    if model.shape.block_size is None or model.shape.mask_token_id is None:
        raise CheckpointError(f"{folder} is not a block-diffusion model: convert it first (opdlm convert)")
    return model.shape.block_size, model.shape.mask_token_id

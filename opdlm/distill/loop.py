"""On-policy distillation of a block-diffusion student (paper Algorithm 1; spec 0, 4, 5).

    repeat:
        the student answers a batch of prompts, recording the step at which it revealed each token
        the frozen teacher reads the answers once, causally
        for each answer: draw a state of its trajectory, and let the student predict the masked tokens in it
        update the student towards the teacher at those positions

The other objectives change who writes the answers, which masks are drawn, and the target.
"""

import shutil
import time
from pathlib import Path

import numpy as np

from opdlm.config.training import TrainStage
from opdlm.decode.request import Rollout
from opdlm.distill import checkpoint
from opdlm.distill.checkpoint import Progress
from opdlm.distill.metrics import Metrics
from opdlm.distill.trainer import Trainer
from opdlm.files import new_folder
from opdlm.model.checkpoint import copy_tokenizer, load_config, save_model


def train(
    stage: TrainStage, teacher: Path, student: Path, prompts: Path, state: Path, out: Path, device: str = "cpu"
) -> None:
    """Distil `teacher` into the block-diffusion model `student` and write the result to `out`.

    A killed run goes on from its last checkpoint in `state`, with the same losses and weights bit for bit on CPU.

    Args:
        stage: settings.
        teacher, student: model folders; the student is a conversion.
        prompts: rows of training prompts.
        state: folder for checkpoints and metrics of this run.
        out: model folder to write; `metrics.jsonl` goes into it too.
        device: where to train.

    Raises:
        TrainingError: the loss is not finite, or another process trains in `state`.
        DataError: the prompts are malformed or none is left.
        CheckpointError: a model folder is incomplete.
    """
    with checkpoint.locked(state):
        trainer = Trainer(stage, teacher, student, prompts, device)
        progress = resume(trainer, state)
        with Metrics(state, progress.metrics_bytes, progress.rollouts, trainer.total_rollouts) as metrics:
            while progress.rollouts < trainer.total_rollouts:
                one_rollout(trainer, progress, metrics)
                last = progress.rollouts == trainer.total_rollouts
                if last or progress.rollouts % stage.train.save_every == 0:
                    progress.metrics_bytes = metrics.flush()
                    checkpoint.save(state, progress, trainer.state_dict())
        with new_folder(out) as folder:
            save_model(folder, trainer.student, load_config(student))
            copy_tokenizer(student, folder)
            shutil.copyfile(state / "metrics.jsonl", folder / "metrics.jsonl")


def one_rollout(trainer: Trainer, progress: Progress, metrics: Metrics) -> None:
    """One turn of the algorithm: answers, the teacher's reading, and the updates on them."""
    settings = trainer.settings
    progress.rollouts += 1
    number, began = progress.rollouts, time.perf_counter()

    answers = trainer.write_answers(number)
    reading = trainer.read_by_teacher(answers)
    written = time.perf_counter()
    for epoch in range(settings.inner_epochs):
        rng = np.random.default_rng([settings.seed, number, epoch])
        for batch in np.array_split(rng.permutation(len(answers)), trainer.updates_per_epoch):
            loss, grad_norm = trainer.update(answers, reading, batch.tolist(), progress.updates, rng)
            progress.loss_tokens += sum(len(answers[index].ids) for index in batch)
            metrics.write(
                "update",
                progress.updates,
                {
                    "rollout": number,
                    "update": progress.updates,
                    "loss": loss,
                    "grad_norm": grad_norm,
                    "lr": trainer.learning_rate(progress.updates),
                    "loss_tokens": progress.loss_tokens,
                },
            )
            progress.updates += 1
    record = {
        "rollout": number,
        "max_tokens": trainer.max_tokens(number),
        "threshold": trainer.decoding(number).threshold,
        **rollout_metrics(answers),
    }
    metrics.write("rollout", number, record)
    seconds = {"rollout": written - began, "update": time.perf_counter() - written}
    metrics.advance(
        loss=f"{loss:.4f}",
        length=f"{record['mean_length']:.0f}",
        per_step=f"{record['tokens_per_step']:.2f}",
        seconds=f"{seconds['rollout']:.1f}+{seconds['update']:.1f}",
    )


def rollout_metrics(answers: list[Rollout]) -> dict[str, float]:
    """Means over the answers of one rollout."""
    return {
        "mean_length": float(np.mean([len(answer.ids) for answer in answers])),
        "tokens_per_step": float(np.mean([answer.tokens_per_step for answer in answers])),
        "finished": float(np.mean([answer.finish == "stop" for answer in answers])),
    }


def resume(trainer: Trainer, state: Path) -> Progress:
    """Load the last good checkpoint, if there is one."""
    found = checkpoint.load_latest(state)
    if found is None:
        return Progress()
    progress, tensors = found
    trainer.load_state_dict(tensors)
    return progress

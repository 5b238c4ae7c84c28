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
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np

from opdlm.config.training import TrainStage
from opdlm.decode.request import Rollout
from opdlm.distill import checkpoint
from opdlm.distill.checkpoint import Progress
from opdlm.distill.metrics import Metrics, NoMetrics
from opdlm.distill.preemption import StoppedError, StopRequest, stop_request
from opdlm.distill.ranks import Ranks
from opdlm.distill.trainer import Trainer
from opdlm.files import new_folder, write_text
from opdlm.identity import canonical_json
from opdlm.model.checkpoint import copy_tokenizer, load_config, save_model


def train(
    stage: TrainStage,
    teacher: Path,
    student: Path,
    prompts: Path,
    state: Path,
    out: Path,
    device: str = "cpu",
    ranks: Ranks | None = None,
    recomputed_layers: int = 0,
) -> None:
    """Distil `teacher` into the block-diffusion model `student` and write the result to `out`.

    A killed run goes on from its last checkpoint in `state`, with the same losses and weights bit for bit on CPU.

    Args:
        stage: settings.
        teacher, student: model folders; the student is a conversion.
        prompts: rows of training prompts.
        state: folder for checkpoints and metrics of this run.
        out: model folder to write; `settings.json` and `metrics.jsonl` go into it too.
        device: where to train.
        ranks: the processes that train together; without them this one is alone. Only the first writes files.
        recomputed_layers: layers of the student that are computed again in the backward pass, to save memory.

    Raises:
        StoppedError: SIGTERM or SIGUSR1 came; every update is in a checkpoint.
        TrainingError: the loss is not finite, or another process trains in `state`.
        DataError: the prompts are malformed or none is left.
        CheckpointError: a model folder is incomplete, or no checkpoint in `state` is intact.
    """
    ranks = ranks or Ranks(device=device)
    with first_locks(state, ranks), stop_request() as stop:
        trainer = Trainer(stage, teacher, student, prompts, device, ranks)
        trainer.student.recomputed = recomputed_layers
        progress = resume(trainer, state)
        with Metrics(state, progress, trainer.total_rollouts) if ranks.first else NoMetrics() as metrics:
            while progress.rollouts < trainer.total_rollouts and not ranks.any(stop.signal):
                one_rollout(trainer, progress, metrics, stop)
                if not progress.answers and progress.rollouts % stage.train.save_every == 0:
                    save(trainer, progress, metrics, state, student)
            save(trainer, progress, metrics, state, student)
        if progress.rollouts < trainer.total_rollouts:
            raise StoppedError(
                f"stopped by {ranks.any(stop.signal)} after {progress.rollouts} of {trainer.total_rollouts} rollouts "
                f"and {progress.updates} updates, all saved; rerun the same command to go on"
            )
        if ranks.first:
            with new_folder(out) as folder:
                write_student(trainer, student, folder)
                write_text(folder / "settings.json", canonical_json(stage))
                shutil.copyfile(state / "metrics.jsonl", folder / "metrics.jsonl")


@contextmanager
def first_locks(state: Path, ranks: Ranks) -> Iterator[None]:
    """Hold the run's folder for all ranks, which begin when the first one has it and end together."""
    with checkpoint.locked(state) if ranks.first else nullcontext():
        ranks.wait()
        yield
        ranks.wait()


def one_rollout(trainer: Trainer, progress: Progress, metrics: Metrics | NoMetrics, stop: StopRequest) -> None:
    """One turn of the algorithm: answers, the teacher's reading, and the updates on them.

    If training is to stop it ends before the next update, and another call goes on there.
    """
    number, began = progress.rollouts + 1, time.perf_counter()
    answers = progress.answers = progress.answers or trainer.write_answers(number)
    reading = trainer.read_by_teacher(answers)
    written = time.perf_counter()
    for batch, rng in updates_to_do(trainer, progress):
        if trainer.ranks.any(stop.signal):
            return
        loss, grad_norm = trainer.update(answers, reading, batch, progress.updates, rng)
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
        progress.generator = rng.bit_generator.state
    progress.rollouts, progress.answers = number, []
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


def updates_to_do(trainer: Trainer, progress: Progress) -> Iterator[tuple[list[int], np.random.Generator]]:
    """The updates of the current rollout that are not done yet.

    Yields:
        the answers of each, by index, and the generator that draws their states.
    """
    settings, per_epoch, number = trainer.settings, trainer.updates_per_epoch, progress.rollouts + 1
    done = progress.updates - progress.rollouts * settings.inner_epochs * per_epoch
    for epoch in range(done // per_epoch, settings.inner_epochs):
        rng = np.random.default_rng([settings.seed, number, epoch])
        batches = np.array_split(rng.permutation(len(progress.answers)), per_epoch)
        begin = max(0, done - epoch * per_epoch)
        if begin:  # in the middle of an epoch
            rng.bit_generator.state = progress.generator
        for batch in batches[begin:]:
            yield batch.tolist(), rng


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


def save(trainer: Trainer, progress: Progress, metrics: Metrics | NoMetrics, state: Path, student: Path) -> None:
    """Write a checkpoint, with the metrics up to here; all ranks hold the same, so the first one's is enough."""
    if trainer.ranks.first:
        progress.metrics_bytes = metrics.flush()
        checkpoint.save(state, progress, trainer.state_dict(), partial(write_student, trainer, student))


def write_student(trainer: Trainer, student: Path, folder: Path) -> None:
    """Fill `folder` with the student as a model folder; what is not weights comes from its initialisation `student`."""
    save_model(folder, trainer.student, load_config(student))
    copy_tokenizer(student, folder)

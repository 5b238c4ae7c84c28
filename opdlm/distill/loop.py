"""On-policy distillation of a block-diffusion student (paper Algorithm 1; spec 0, 4, 5).

    repeat:
        the student answers a batch of prompts, recording the step at which it revealed each token
        the frozen teacher reads the answers once, causally
        for each answer: draw a state of its trajectory, and let the student predict the masked tokens in it
        update the student towards the teacher at those positions

The other objectives change who writes the answers, which masks are drawn, and the target.
"""

import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from accelerate.tracking import GeneralTracker

from opdlm.config.hardware import ALONE, Hardware
from opdlm.config.training import TrainStage
from opdlm.distill import checkpoint
from opdlm.distill.card import Origin, write_card
from opdlm.distill.checkpoint import Progress
from opdlm.distill.judging import Judge, Judging
from opdlm.distill.metrics import Metrics, NoMetrics, update_record
from opdlm.distill.pairing import check_same_tokens
from opdlm.distill.preemption import StoppedError, StopRequest, stop_request
from opdlm.distill.ranks import Ranks
from opdlm.distill.trackers import check, started
from opdlm.distill.trainer import Trainer
from opdlm.files import new_folder, write_json, write_text
from opdlm.identity import canonical_json
from opdlm.model.checkpoint import copy_tokenizer, load_config, save_model
from opdlm.model.device import cost
from opdlm.model.qwen3 import Qwen3


def train(
    stage: TrainStage,
    teacher: Path,
    student: Path,
    prompts: Path,
    state: Path,
    out: Path,
    device: str = "cpu",
    hardware: Hardware = ALONE,
    judge: Judge | None = None,
    trackers: Sequence[str | GeneralTracker] = (),
) -> None:
    """Distil `teacher` into the block-diffusion model `student` and write the result to `out`.

    A killed run goes on from its last checkpoint in `state`, with the same losses and weights bit for bit on CPU.

    Args:
        stage: settings.
        teacher, student: model folders; the student is a conversion.
        prompts: rows of training prompts.
        state: folder for checkpoints and metrics of this run.
        out: model folder to write; `settings.json`, `metrics.jsonl` and `cost.json` go into it too.
        device: where to train.
        hardware: the processes, of which this is one, and how they share the memory.
        judge: says which answers are right, for the metrics; the first process asks it.
        trackers: names of accelerate's experiment trackers (`wandb`), or trackers of one's own.

    Raises:
        SettingsError: a tracker is not installed.
        StoppedError: SIGTERM or SIGUSR1 came; every update is in a checkpoint.
        TrainingError: the loss is not finite, or the processes are not as many.
        DataError: the prompts are malformed or none is left.
        CheckpointError: a model folder is incomplete, teacher and student have different tokens, no checkpoint in
            `state` is intact, or the newest one belongs to another number of processes or ZeRO stage.
    """
    check(trackers)
    check_same_tokens(teacher, student)
    ranks = Ranks(hardware.processes, device)
    with checkpoint.locked(state, ranks), stop_request() as stop:
        trainer = Trainer(stage, teacher, student, prompts, device, ranks, hardware)
        progress, origin = resume(trainer, state), Origin(stage, teacher, student)
        judging = Judging(judge, trainer.tokenizer)
        with (
            Metrics(state, progress, trainer.total_rollouts, judging, started(trackers, state, stage))
            if ranks.first
            else NoMetrics()
        ) as metrics:
            while progress.rollouts < trainer.total_rollouts and not ranks.any(stop.signal):
                one_rollout(trainer, progress, metrics, stop)
                if not progress.answers and progress.rollouts % stage.train.save_every == 0:
                    save(trainer, progress, metrics, state, origin)
            save(trainer, progress, metrics, state, origin)
        if progress.rollouts < trainer.total_rollouts:
            raise StoppedError(
                f"stopped by {ranks.any(stop.signal)} after {progress.rollouts} of {trainer.total_rollouts} rollouts "
                f"and {progress.updates} updates, all saved; rerun the same command to go on"
            )
        trained = trainer.learner.whole_student()
        if ranks.first:
            with new_folder(out) as folder:
                write_student(trained, origin, progress, folder)
                write_text(folder / "settings.json", canonical_json(stage))
                shutil.copyfile(state / "metrics.jsonl", folder / "metrics.jsonl")
                spent = cost(progress.seconds, ranks.device, ranks.world)
                write_json(folder / "cost.json", spent.model_dump())


def one_rollout(trainer: Trainer, progress: Progress, metrics: Metrics | NoMetrics, stop: StopRequest) -> None:
    """One turn of the algorithm: answers, the teacher's reading, and the updates on them.

    If training is to stop it ends before the next update, and another call goes on there.
    """
    number = progress.rollouts + 1
    answers = progress.answers = progress.answers or trainer.write_answers(number)
    metrics.judge(trainer, number, answers)
    reading = trainer.read_by_teacher(answers)
    for batch, rng in updates_to_do(trainer, progress):
        if trainer.ranks.any(stop.signal):
            trainer.meter.take(progress)
            return
        update = trainer.update(answers, reading, batch, progress.updates, rng)
        progress.loss_tokens += sum(len(answers[index].ids) for index in batch)
        metrics.update(update_record(trainer, progress, update))
        progress.updates += 1
        progress.generator = rng.bit_generator.state
    progress.rollout_tokens += sum(len(answer.ids) for answer in answers)
    progress.rollouts, progress.answers = number, []
    metrics.rollout(trainer, progress, answers, update)


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


def resume(trainer: Trainer, state: Path) -> Progress:
    """Load the last good checkpoint, if there is one."""
    found = checkpoint.load_latest(state, trainer.shared)
    if found is None:
        return Progress()
    progress, tensors = found
    trainer.learner.load_state_dict(tensors)
    return progress


def save(trainer: Trainer, progress: Progress, metrics: Metrics | NoMetrics, state: Path, origin: Origin) -> None:
    """Write a checkpoint, with the metrics up to here, which the first rank has."""
    if trainer.ranks.first:
        progress.metrics_bytes = metrics.flush()
    write = partial(write_student, trainer.learner.whole_student(), origin, progress)
    checkpoint.save(state, progress, trainer.learner.state_dict(), write, trainer.shared)


def write_student(trained: Qwen3, origin: Origin, progress: Progress, folder: Path) -> None:
    """Fill `folder` with the student as a model folder; what is not weights comes from its initialisation."""
    save_model(folder, trained, load_config(origin.student))
    copy_tokenizer(origin.student, folder)
    write_card(folder, origin, progress)

"""What training reports: one JSON object a line, the same to TensorBoard and trackers, and a progress line."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from types import TracebackType
from typing import IO, Any, Literal

from accelerate.tracking import GeneralTracker
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from opdlm.decode.request import Rollout
from opdlm.distill import flops
from opdlm.distill.checkpoint import Progress
from opdlm.distill.judging import Judging, questions
from opdlm.distill.meter import Phase, Spent
from opdlm.distill.tally import Update
from opdlm.distill.trainer import Trainer
from opdlm.errors import CheckpointError

Kind = Literal["update", "rollout", "timing"]


@dataclass(frozen=True, slots=True)
class UpdateRecord(Update):
    """A line of `metrics.jsonl`: an update, and where training stands after it.

    Attributes:
        rollout: from 1.
        update: from 0.
        lr: learning rate.
        loss_tokens: answer tokens trained on so far.
        rollout_tokens: answer tokens written so far.
        paper_flops: floating-point operations so far, as the paper counts them.
    """

    rollout: int
    update: int
    lr: float
    loss_tokens: int
    rollout_tokens: int
    paper_flops: int


@dataclass(frozen=True, slots=True)
class RolloutRecord:
    """A line of `metrics.jsonl`: the answers of a rollout.

    Attributes:
        rollout: from 1.
        max_tokens: the longest answer allowed.
        threshold: of dynamic decoding.
        mean_length: tokens an answer, end token included.
        tokens_per_step: mean over answers of tokens per denoising step.
        finished: fraction of answers that end with an end token.
        scorable: fraction of answers that could be judged; none without a judge.
        accuracy: fraction of those that are right; none if there are none.
        accuracy_by_domain: the same for the questions of each domain.
    """

    rollout: int
    max_tokens: int
    threshold: float | None
    mean_length: float
    tokens_per_step: float
    finished: float
    scorable: float | None
    accuracy: float | None
    accuracy_by_domain: dict[str, float]


def update_record(trainer: Trainer, progress: Progress, update: Update) -> UpdateRecord:
    """An update, and where training stands after it; its rollout and itself are not counted as finished yet."""
    weights = flops.weights(trainer.student.shape), flops.weights(trainer.teacher.shape)
    return UpdateRecord(
        **asdict(update),
        rollout=progress.rollouts + 1,
        update=progress.updates,
        lr=trainer.learning_rate(progress.updates),
        loss_tokens=progress.loss_tokens,
        rollout_tokens=progress.rollout_tokens + sum(len(answer.ids) for answer in progress.answers),
        paper_flops=flops.paper(*weights, progress.loss_tokens),
    )


def rollout_record(
    trainer: Trainer, rollout: int, answers: list[Rollout], verdicts: list[bool | None] | None
) -> RolloutRecord:
    """Means over the answers of one rollout; `verdicts` is none if they were not judged."""
    domains = [row.domain or "math" for row in questions(trainer, rollout)]
    right: dict[str, list[bool]] = {}
    for domain, verdict in zip(domains, verdicts or [None] * len(answers), strict=True):
        if verdict is not None:
            right.setdefault(domain, []).append(verdict)
    judged = [verdict for group in right.values() for verdict in group]
    decoding = trainer.decoding(rollout)
    return RolloutRecord(
        rollout=rollout,
        max_tokens=trainer.max_tokens(rollout),
        threshold=decoding.threshold if decoding.strategy == "dynamic" else None,
        mean_length=fmean(len(answer.ids) for answer in answers),
        tokens_per_step=fmean(answer.tokens_per_step for answer in answers),
        finished=fmean(answer.finish == "stop" for answer in answers),
        scorable=None if verdicts is None else len(judged) / len(answers),
        accuracy=fmean(judged) if judged else None,
        accuracy_by_domain={domain: fmean(group) for domain, group in sorted(right.items())},
    )


@dataclass(frozen=True, slots=True)
class TimingRecord:
    """A line of `timing.jsonl`: what a rollout cost. In one that was stopped, only the part after the last start.

    Attributes:
        rollout: from 1.
        seconds: of the first process, by phase.
        flops: floating-point operations of all processes, by phase.
        flops_per_second: of one device, over all phases.
        gpu_hours: of all devices so far, over all starts; work after the last checkpoint of a killed one is not known.
        spent_flops: floating-point operations so far.
    """

    rollout: int
    seconds: dict[Phase, float]
    flops: dict[Phase, float]
    flops_per_second: float
    gpu_hours: float
    spent_flops: float


def timing_record(progress: Progress, spent: Spent, devices: int) -> TimingRecord:
    """What the rollout that has just ended cost; `progress` counts it already."""
    return TimingRecord(
        rollout=progress.rollouts,
        seconds=spent.seconds,
        flops=spent.flops,
        flops_per_second=sum(spent.flops.values()) / sum(spent.seconds.values()) / devices,
        gpu_hours=progress.seconds * devices / 3600,
        spent_flops=progress.flops,
    )


class Metrics:
    """Appends records to `metrics.jsonl` and `timing.jsonl` in the run's state folder.

    Whatever depends on the clock stands in the second, so that the first is the same however often a run was stopped.

    Args:
        state: folder of the run's training state.
        progress: the checkpoint we resume from. What was written after it is cut off, and TensorBoard hides it.
        total: rollouts planned, for the progress line.
        judging: judges the answers.
        trackers: are told the same; they have begun.

    Raises:
        CheckpointError: the file is shorter than at the checkpoint.
    """

    def __init__(
        self,
        state: Path,
        progress: Progress,
        total: int,
        judging: Judging,
        trackers: Sequence[GeneralTracker] = (),
    ) -> None:
        self.path = state / "metrics.jsonl"
        self.stream = open(self.path, "ab")  # noqa: SIM115 (closed by __exit__)
        if self.stream.tell() < progress.metrics_bytes:
            raise CheckpointError(f"{self.path} has lost lines: delete {state} to begin anew")
        self.stream.truncate(progress.metrics_bytes)
        self.stream.seek(0, os.SEEK_END)
        self.timing = _kept_lines(state / "timing.jsonl", progress.rollouts)
        # Each axis has a folder of its own, because TensorBoard hides by step, and theirs are different.
        following: dict[Kind, int] = {"update": progress.updates, "rollout": progress.rollouts + 1}
        following["timing"] = following["rollout"]
        board = state / "tensorboard"
        self.boards = {kind: SummaryWriter(str(board / kind), purge_step=step) for kind, step in following.items()}
        self.progress = tqdm(initial=progress.rollouts, total=total, desc="distil", unit="rollout", mininterval=5)
        self.judging, self.trackers, self.latest = judging, trackers, progress.updates

    def __enter__(self) -> "Metrics":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.judging.close()
        for tracker in self.trackers:
            tracker.finish()
        self.stream.close()
        self.timing.close()
        for board in self.boards.values():
            board.close()
        self.progress.close()

    def judge(self, trainer: Trainer, rollout: int, answers: list[Rollout]) -> None:
        """Begin to judge a rollout's answers, while the updates run."""
        self.judging.begin(questions(trainer, rollout), answers)

    def update(self, record: UpdateRecord) -> None:
        """An update is done."""
        self.latest = record.update
        self._write("update", record.update, asdict(record))

    def rollout(self, trainer: Trainer, progress: Progress, answers: list[Rollout], update: Update) -> None:
        """A rollout is done; `update` is its last one."""
        record = rollout_record(trainer, progress.rollouts, answers, self.judging.verdicts())
        timing = timing_record(progress, trainer.meter.take(progress), trainer.ranks.world)
        self._write("rollout", record.rollout, asdict(record))
        self._write("timing", timing.rollout, asdict(timing))
        shown = {
            "loss": f"{update.loss:.4f}",
            "length": f"{record.mean_length:.0f}",
            "per_step": f"{record.tokens_per_step:.2f}",
            **({} if record.accuracy is None else {"right": f"{record.accuracy:.0%}"}),
            "seconds": " ".join(f"{phase} {seconds:.1f}" for phase, seconds in timing.seconds.items()),
        }
        self.progress.set_postfix(shown, refresh=False)
        self.progress.update()

    def _write(self, kind: Kind, step: int, record: dict[str, Any]) -> None:
        """Append a record; `step` is its place on TensorBoard's axis. Trackers have one axis, the updates."""
        stream = self.timing if kind == "timing" else self.stream
        stream.write((json.dumps({"kind": kind, **record}) + "\n").encode())
        stream.flush()  # so that people can watch the file
        values = {f"{kind}/{name}": value for name, value in flat(record)}
        for name, value in values.items():
            self.boards[kind].add_scalar(name, value, step)
        for tracker in self.trackers:
            tracker.log(values, step=self.latest)

    def flush(self) -> int:
        """Make everything written durable; returns the length of `metrics.jsonl` in bytes."""
        for board in self.boards.values():
            board.flush()
        for stream in (self.timing, self.stream):
            os.fsync(stream.fileno())
        return self.stream.tell()


def _kept_lines(path: Path, count: int) -> IO[bytes]:
    """The file, open at its end, cut to its first `count` lines."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    stream = open(path, "ab")  # noqa: SIM115 (closed by __exit__)
    stream.truncate(sum(map(len, lines[:count])))
    stream.seek(0, os.SEEK_END)
    return stream


def flat(record: dict[str, Any], within: str = "") -> Iterator[tuple[str, float]]:
    """Names and values of a record; a name within a name stands behind a slash, and what is none is left out."""
    for name, value in record.items():
        if isinstance(value, dict):
            yield from flat(value, f"{within}{name}/")
        elif value is not None:
            yield f"{within}{name}", value


class NoMetrics:
    """The metrics of a rank that writes no files."""

    def __enter__(self) -> "NoMetrics":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing to close."""

    def judge(self, trainer: Trainer, rollout: int, answers: list[Rollout]) -> None:
        """The first rank does that."""

    def update(self, record: UpdateRecord) -> None:
        """Forget the record."""

    def rollout(self, trainer: Trainer, progress: Progress, answers: list[Rollout], update: Update) -> None:
        """The first rank reports it."""

    def flush(self) -> int:
        """Nothing was written."""
        return 0

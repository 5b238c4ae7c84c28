"""What training reports: one JSON object a line, the same to TensorBoard, and a progress line."""

import json
import os
from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from opdlm.distill.checkpoint import Progress
from opdlm.errors import CheckpointError


class Metrics:
    """Appends records to `metrics.jsonl` in the run's state folder.

    Args:
        state: folder of the run's training state.
        progress: the checkpoint we resume from. What was written after it is cut off, and TensorBoard hides it.
        total: rollouts planned, for the progress line.

    Raises:
        CheckpointError: the file is shorter than at the checkpoint.
    """

    def __init__(self, state: Path, progress: Progress, total: int) -> None:
        self.path = state / "metrics.jsonl"
        self.stream = open(self.path, "ab")  # noqa: SIM115 (closed by __exit__)
        if self.stream.tell() < progress.metrics_bytes:
            raise CheckpointError(f"{self.path} has lost lines: delete {state} to begin anew")
        self.stream.truncate(progress.metrics_bytes)
        self.stream.seek(0, os.SEEK_END)
        # Each axis has a folder of its own, because TensorBoard hides by step, and theirs are different.
        following = {"update": progress.updates, "rollout": progress.rollouts + 1}
        board = state / "tensorboard"
        self.boards = {kind: SummaryWriter(str(board / kind), purge_step=step) for kind, step in following.items()}
        self.progress = tqdm(initial=progress.rollouts, total=total, desc="distil", unit="rollout", mininterval=5)

    def __enter__(self) -> "Metrics":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stream.close()
        for board in self.boards.values():
            board.close()
        self.progress.close()

    def write(self, kind: str, step: int, record: dict[str, float]) -> None:
        """Append one record of an `update` or a `rollout`; `step` is its number, its place on TensorBoard's axis."""
        self.stream.write((json.dumps({"kind": kind, **record}) + "\n").encode())
        self.stream.flush()  # so that people can watch the file
        for name, value in record.items():
            self.boards[kind].add_scalar(f"{kind}/{name}", value, step)

    def advance(self, **shown: str) -> None:
        """One rollout is done."""
        self.progress.set_postfix(shown, refresh=False)
        self.progress.update()

    def flush(self) -> int:
        """Make everything written durable; returns the file's length in bytes."""
        for board in self.boards.values():
            board.flush()
        os.fsync(self.stream.fileno())
        return self.stream.tell()


class NoMetrics:
    """The metrics of a rank that writes no files."""

    def __enter__(self) -> "NoMetrics":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing to close."""

    def write(self, kind: str, step: int, record: dict[str, float]) -> None:
        """Forget the record."""

    def advance(self, **shown: str) -> None:
        """Show nothing."""

    def flush(self) -> int:
        """Nothing was written."""
        return 0

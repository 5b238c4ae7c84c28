"""What training reports: one JSON object a line, the same to TensorBoard, and a progress line."""

import json
import os
from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm


class Metrics:
    """Appends records to `metrics.jsonl` in the run's state folder.

    Args:
        state: folder of the run's training state.
        keep: bytes of an earlier file that belong to the checkpoint we resume from; the rest is cut off.
        done, total: rollouts finished and planned, for the progress line.
    """

    def __init__(self, state: Path, keep: int, done: int, total: int) -> None:
        self.path = state / "metrics.jsonl"
        self.stream = open(self.path, "ab")  # noqa: SIM115 (closed by __exit__)
        self.stream.truncate(keep)
        self.board = SummaryWriter(str(state / "tensorboard"), purge_step=done + 1)
        self.progress = tqdm(initial=done, total=total, desc="distil", unit="rollout", mininterval=5)

    def __enter__(self) -> "Metrics":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stream.close()
        self.board.close()
        self.progress.close()

    def write(self, kind: str, step: int, record: dict[str, float]) -> None:
        """Append one record; `step` is its place on TensorBoard's axis."""
        self.stream.write((json.dumps({"kind": kind, **record}) + "\n").encode())
        for name, value in record.items():
            self.board.add_scalar(f"{kind}/{name}", value, step)

    def advance(self, **shown: str) -> None:
        """One rollout is done."""
        self.progress.set_postfix(shown, refresh=False)
        self.progress.update()

    def flush(self) -> int:
        """Make everything written durable; returns the file's length in bytes."""
        self.stream.flush()
        os.fsync(self.stream.fileno())
        return self.stream.tell()

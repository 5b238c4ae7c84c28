"""Training state on disk: exact resume after a kill at any moment, and a lock against a second trainer."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from opdlm.errors import TrainingError
from opdlm.files import new_folder, read_json, sha256, write_json

KEPT = 2
"""Checkpoints that stay; a torn newest one is skipped for the one before."""


class Progress(BaseModel):
    """Where training stands. Data order and random numbers are functions of the seed and these counters."""

    model_config = ConfigDict(extra="forbid")

    rollouts: int = 0
    updates: int = 0
    loss_tokens: int = 0
    metrics_bytes: int = 0
    """Length of the metrics file at this point; what a killed run wrote beyond it is cut off."""


def save(state: Path, progress: Progress, tensors: dict[str, Any]) -> None:
    """Write a checkpoint atomically and remove the oldest ones.

    Args:
        state: folder of the run's training state.
        progress: counters.
        tensors: what `torch.save` takes: state dictionaries of student and optimiser.
    """
    with new_folder(state / f"rollout-{progress.rollouts:06d}") as folder:
        torch.save(tensors, folder / "tensors.pt")
        digest = sha256(folder / "tensors.pt")
        write_json(folder / "progress.json", {"progress": progress.model_dump(), "sha256": digest})
    for folder in _checkpoints(state)[:-KEPT]:
        shutil.rmtree(folder)


def load_latest(state: Path) -> tuple[Progress, dict[str, Any]] | None:
    """The newest checkpoint whose content matches its hash; none if there is none."""
    for folder in reversed(_checkpoints(state)):
        if (folder / "progress.json").is_file() and (folder / "tensors.pt").is_file():
            record = read_json(folder / "progress.json")
            if sha256(folder / "tensors.pt") == record["sha256"]:
                tensors = torch.load(folder / "tensors.pt", map_location="cpu", weights_only=True)
                return Progress.model_validate(record["progress"]), tensors
    return None


def _checkpoints(state: Path) -> list[Path]:
    return sorted(state.glob("rollout-*"))


@contextmanager
def locked(state: Path) -> Iterator[None]:
    """Hold the run's folder; released by the kernel when the process ends, however it ends.

    Raises:
        TrainingError: another process is training in it.
    """
    state.mkdir(parents=True, exist_ok=True)
    with open(state / "lock", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingError(f"{state} is locked: another process is training this run") from None
        yield

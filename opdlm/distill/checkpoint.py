"""Training state on disk: exact resume after a kill at any moment, and a lock against a second trainer.

A checkpoint is a folder with the student in Hugging Face layout, the optimiser, the counters, and a hash of each file.
Where several processes share out the optimiser's state, each writes its own part, and the same number must read them.
"""

import fcntl
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from opdlm.decode.request import Rollout
from opdlm.distill.ranks import Ranks
from opdlm.errors import CheckpointError, DataError
from opdlm.files import new_folder, read_json, sha256, take, write_json, write_text
from opdlm.model.checkpoint import load_model

log = logging.getLogger(__name__)

KEPT = 2
"""Checkpoints that stay; a damaged newest one is skipped for the one before."""
WAIT = 1.0
"""Seconds between two attempts to take a folder that another training holds."""
STUDENT, TRAINING, PROGRESS, HASHES = "student", "training.pt", "progress.json", "sha256.json"
SHARED = "shared.json"


class Progress(BaseModel):
    """Where training stands. The order of the data and the schedules are functions of the settings and these counters.

    Inside a rollout its answers are part of it: the weights that wrote them have changed since.
    """

    model_config = ConfigDict(extra="forbid")

    rollouts: int = 0
    """Rollouts that are finished."""
    updates: int = 0
    loss_tokens: int = 0
    """Answer tokens trained on."""
    rollout_tokens: int = 0
    """Answer tokens written."""
    seconds: float = 0.0
    """Wall time of all starts."""
    flops: float = 0.0
    """Floating-point operations of all processes and starts."""
    metrics_bytes: int = 0
    """Length of the metrics file at this point; what a killed run wrote beyond it is cut off."""
    answers: list[Rollout] = []
    """Of the rollout that has begun; none between two rollouts."""
    generator: Mapping[str, Any] = {}
    """State, after the last update, of the generator that draws the states of an epoch."""

    @property
    def name(self) -> str:
        """Name of the checkpoint; later ones come later in the alphabet."""
        begun = self.rollouts + (1 if self.answers else 0)
        return f"rollout-{begun:06d}-update-{self.updates:06d}"


@dataclass(frozen=True)
class Shared:
    """The processes that write a checkpoint together, and the ZeRO stage.

    In stage 0 all hold the same, so the first one writes it, and any number of processes may read it.
    """

    ranks: Ranks = field(default_factory=Ranks)
    zero: int = 0

    @property
    def part(self) -> str:
        """File of this process's tensors."""
        return f"training-{self.ranks.rank}.pt" if self.zero else TRAINING

    @property
    def together(self) -> "Together":
        """What must be the same when the checkpoint is read."""
        return Together(self.ranks.world if self.zero else 0, self.zero)


@dataclass(frozen=True)
class Together:
    """Number of processes that each hold a part, and the ZeRO stage; zeros if one file holds everything."""

    processes: int
    zero: int

    def __str__(self) -> str:
        if not self.zero:
            return "no ZeRO"
        return f"{self.processes} process{'' if self.processes == 1 else 'es'} with ZeRO stage {self.zero}"


def save(
    state: Path,
    progress: Progress,
    tensors: dict[str, Any],
    write_student: Callable[[Path], None],
    shared: Shared = Shared(),
) -> None:
    """Write a checkpoint atomically and remove all but the last ones. One that is there and intact is left as it is.

    Args:
        state: folder of the run's training state.
        progress: counters.
        tensors: the learner's `state_dict`.
        write_student: writes the student, as a model folder, into the folder given to it.
        shared: who writes it; all processes call this.
    """
    place = state / progress.name
    if not shared.ranks.first:
        _write_parts(None, tensors, shared)
        return
    if place.exists() and damage(place) is None:
        _write_parts(None, tensors, shared)
    else:
        with new_folder(place) as folder:
            (folder / STUDENT).mkdir()
            write_student(folder / STUDENT)
            _write_parts(folder, tensors, shared)
            write_text(folder / PROGRESS, json.dumps(progress.model_dump(mode="json")))
            files = sorted(file for file in folder.rglob("*") if file.is_file())
            write_json(folder / HASHES, {str(file.relative_to(folder)): sha256(file) for file in files})
    found = _checkpoints(state)
    last = found.index(place) + 1
    for folder in [*found[: max(0, last - KEPT)], *found[last:]]:  # later ones are damaged, or we would go on from them
        shutil.rmtree(folder)


def _write_parts(folder: Path | None, tensors: dict[str, Any], shared: Shared) -> None:
    """Write the tensors: the first process for all, or each its own into the folder that only the first one knows.

    No folder: nothing is to be written (the first process says so), or this is not the first process.
    """
    if shared.zero:
        [folder] = shared.ranks.gather([folder] if shared.ranks.first else [])
    if folder is None:
        return
    torch.save({key: value for key, value in tensors.items() if key != STUDENT}, folder / shared.part)
    if shared.zero:
        if shared.ranks.first:
            write_json(folder / SHARED, asdict(shared.together))
        shared.ranks.wait()


def load_latest(state: Path, shared: Shared = Shared()) -> tuple[Progress, dict[str, Any]] | None:
    """The newest checkpoint that is intact, as counters and the learner's `state_dict`; none if there is none yet.

    Raises:
        CheckpointError: there are checkpoints, and all of them are damaged; or other processes wrote the newest one
            together than `shared` says.
    """
    found = _checkpoints(state)
    for folder in reversed(found):
        fault = damage(folder)
        if fault is None:
            return Progress.model_validate(read_json(folder / PROGRESS)), _tensors(folder, shared)
        log.warning("checkpoint %s is damaged (%s); looking for the one before", folder, fault)
    if found:
        raise CheckpointError(
            f"none of the {len(found)} checkpoints in {state} is intact: delete {state} to begin anew"
        )
    return None


def _tensors(folder: Path, shared: Shared) -> dict[str, Any]:
    """The trainer's `state_dict` in a checkpoint; with ZeRO this process's part, which the weights can be had from."""
    wrote = Together(**read_json(folder / SHARED)) if (folder / SHARED).exists() else Shared().together
    if wrote != shared.together:
        raise CheckpointError(
            f"{folder} was written by a run of {wrote}, and this one has {shared.together}: "
            f"go on as it began, or delete {folder.parent} to begin anew"
        )
    training = torch.load(folder / shared.part, map_location="cpu", weights_only=True)
    return training if shared.zero else {STUDENT: load_model(folder / STUDENT).state_dict(), **training}


def damage(checkpoint: Path) -> str | None:
    """What is wrong with the files of a checkpoint, if anything."""
    try:
        for name, digest in read_json(checkpoint / HASHES).items():
            if sha256(checkpoint / name) != digest:
                return f"{name} is not what was written"
    except FileNotFoundError as error:
        return f"{error.filename} does not exist"
    except (DataError, OSError) as error:
        return str(error)
    return None


def _checkpoints(state: Path) -> list[Path]:
    return sorted(state.glob("rollout-*"))


@contextmanager
def locked(state: Path, ranks: Ranks) -> Iterator[None]:
    """Hold the run's folder for all processes, which begin when the first one has it and end together.

    While another training holds it they wait: a workflow that was killed leaves a training behind, and what that
    finishes is taken up. The kernel gives the folder up with the process that holds it, however that ends.
    """
    state.mkdir(parents=True, exist_ok=True)
    with open(state / "lock", "w") as handle:
        # No process waits for another longer than a moment: those that talk through NCCL give up after minutes.
        said = False
        while ranks.any("held" if ranks.first and not take(handle) else None):
            if ranks.first and not said:
                log.warning("waiting: another process is training in %s", state)
            said = True
            time.sleep(WAIT)
        try:
            if ranks.first:
                for unfinished in state.glob(".rollout-*"):  # a checkpoint that a killed run was writing
                    shutil.rmtree(unfinished)
            yield
            ranks.wait()
        finally:
            if ranks.first:
                fcntl.flock(handle, fcntl.LOCK_UN)  # a child that is just being started would hold it until then

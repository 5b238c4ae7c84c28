"""Experiment trackers beside the files: Weights & Biases, and the others that accelerate knows."""

from collections.abc import Sequence
from pathlib import Path

from accelerate import PartialState
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker, get_available_trackers
from accelerate.utils import LoggerType

from opdlm.config.training import TrainStage
from opdlm.errors import SettingsError

PROJECT = "opdlm"


def check(trackers: Sequence[str | GeneralTracker]) -> None:
    """Find out whether trackers can be used here, before anything is loaded.

    Raises:
        SettingsError: accelerate does not know one, or its package is not installed.
    """
    for tracker in trackers:
        if not isinstance(tracker, str):
            continue
        if tracker not in LoggerType.list():
            raise SettingsError(f"tracker '{tracker}' is unknown; known are {', '.join(LoggerType.list())}")
        if LoggerType(tracker) not in get_available_trackers():
            raise SettingsError(f"tracker '{tracker}' needs its package: pip install {tracker}")


def started(trackers: Sequence[str | GeneralTracker], state: Path, stage: TrainStage) -> list[GeneralTracker]:
    """Trackers that have begun a run named like its folder; a run that goes on is the same one there.

    Args:
        trackers: names that accelerate knows, or trackers of one's own.
        state: folder of the run's training state.
        stage: the run's settings, to compare runs by.
    """
    PartialState()  # accelerate's trackers want to know which process they are in
    made = [tracker if isinstance(tracker, GeneralTracker) else _named(tracker, state) for tracker in trackers]
    for tracker in made:
        tracker.start()
        tracker.store_init_configuration(stage.model_dump(mode="json"))
    return made


def _named(name: str, state: Path) -> GeneralTracker:
    kind = LOGGER_TYPE_TO_CLASS[name]
    if name == "wandb":
        return kind(PROJECT, name=state.name, id=state.name, resume="allow", dir=str(state))
    return kind(PROJECT, *([str(state / name)] if kind.requires_logging_directory else []))

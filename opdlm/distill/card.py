"""The model card that training writes beside a student: what it was made of, and how far it has come.

It has no dates and no paths, so that the same training gives the same bytes anywhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from opdlm.config.training import TrainStage
from opdlm.distill.checkpoint import Progress
from opdlm.files import write_text
from opdlm.identity import settings_hash
from opdlm.model.checkpoint import load_config
from opdlm.model.readme import CARD_FILE, LOAD_OURS, UNSHIFTED, base_model, opening

PLACE = "this folder, or its name on the hub"


@dataclass(frozen=True)
class Origin:
    """What a student is made of: settings, and the folders of its teacher and its initialisation."""

    stage: TrainStage
    teacher: Path
    student: Path


def write_card(folder: Path, origin: Origin, progress: Progress) -> None:
    """Write the card of the student in `folder`, a model folder, as it is after `progress`.

    Raises:
        CheckpointError: the folder has no `config.json`.
        DataError: it cannot be written.
    """
    base = base_model(load_config(folder))
    facts = [("base model", base or "not recorded"), *made_of(origin, progress)]
    text = opening(f"Student of {origin.teacher.name}", "block-diffusion", base, facts)
    write_text(folder / CARD_FILE, text + LOAD_OURS.format(repo=PLACE) + UNSHIFTED)


def made_of(origin: Origin, progress: Progress) -> Iterator[tuple[str, str]]:
    """The rows of the card that are about its training; folders by their names."""
    yield "teacher", origin.teacher.name
    yield "initialised from", origin.student.name
    yield "objective", origin.stage.train.objective
    yield "rollouts", f"{progress.rollouts:,}"
    yield "updates", f"{progress.updates:,}, on {progress.loss_tokens:,} answer tokens"
    yield "settings hash", settings_hash(origin.stage)

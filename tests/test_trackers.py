"""Trackers are told all that the files hold; one that cannot be used is an error before anything is loaded."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from accelerate import tracking
from accelerate.tracking import GeneralTracker
from accelerate.utils import LoggerType

from opdlm.distill.loop import train
from opdlm.errors import SettingsError
from tests.family import Family, small_stage
from tests.test_judging import knows_mathematics
from tests.test_metrics import lines, of_kind


class Notebook(GeneralTracker):
    """A tracker of one's own."""

    name = "notebook"
    requires_logging_directory = False

    def __init__(self) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {}
        self.notes: list[tuple[int | None, dict[str, Any]]] = []
        self.closed = False

    @property
    def tracker(self) -> "Notebook":
        return self

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.settings = values

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        self.notes.append((step, values))

    def finish(self) -> None:
        self.closed = True


def test_a_tracker_is_told_all_that_the_files_hold(family: Family, tmp_path: Path) -> None:
    notebook, state = Notebook(), tmp_path / "state"
    stage = small_stage(rollouts=2)
    train(
        stage, family.teacher, family.student, family.prompts, state, tmp_path / "out",
        judge=knows_mathematics, trackers=[notebook],
    )  # fmt: skip
    assert notebook.closed
    assert notebook.settings == stage.model_dump(mode="json")
    updates = of_kind(lines(state / "metrics.jsonl"), "update")
    told = [(step, note["update/loss"]) for step, note in notebook.notes if "update/loss" in note]
    assert told == [(record["update"], record["loss"]) for record in updates]
    steps = [step for step, _ in notebook.notes]
    assert steps == [0, 1, 1, 1, 2, 3, 3, 3], "both kinds share one axis, which never goes back"
    names = {name for _, note in notebook.notes for name in note}
    assert {"rollout/mean_length", "timing/seconds/rollout", "timing/gpu_hours"} <= names


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wandb", r"tracker 'wandb' needs its package: pip install wandb"),
        ("notebook", r"tracker 'notebook' is unknown; known are .*wandb"),
    ],
)
def test_a_tracker_that_cannot_be_used_is_an_error_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.setattr(tracking, "_available_trackers", [])
    nowhere = tmp_path / "nowhere"
    with pytest.raises(SettingsError, match=message):
        train(small_stage(), nowhere, nowhere, nowhere, tmp_path / "state", tmp_path / "out", trackers=[name])
    assert not (tmp_path / "state").exists()


def test_weights_and_biases_goes_on_with_the_run_of_the_same_folder(
    family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[dict[str, Any]] = []
    logged: list[dict[str, Any]] = []

    def init(**given: Any) -> SimpleNamespace:
        begun.append(given)
        return SimpleNamespace(log=lambda values, step: logged.append(values), finish=lambda: None)

    config = SimpleNamespace(update=lambda values, allow_val_change: None)
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, config=config))
    monkeypatch.setattr(tracking, "_available_trackers", [LoggerType.WANDB])
    state = tmp_path / "run-0123"
    train(
        small_stage(rollouts=1), family.teacher, family.student, family.prompts, state, tmp_path / "out",
        trackers=["wandb"],
    )  # fmt: skip
    name = "run-0123"
    assert begun == [{"project": "opdlm", "name": name, "id": name, "resume": "allow", "dir": str(state)}]
    assert "update/loss" in logged[0]

"""The model card that training writes beside each student."""

from pathlib import Path

import pytest
import yaml

from opdlm.distill.card import Origin, write_card
from opdlm.distill.checkpoint import Progress
from opdlm.errors import CheckpointError
from opdlm.identity import settings_hash
from tests.family import small_stage
from tests.folders import contents, edit_config, write_teacher

PROGRESS = Progress(rollouts=3, updates=1234, loss_tokens=56789)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_teacher(tmp_path / "model")


def written(model: Path, places: Path = Path("results")) -> str:
    origin = Origin(small_stage(objective="random_mask"), places / "Tiny", places / "Tiny-b4")
    write_card(model, origin, PROGRESS)
    return (model / "README.md").read_text()


def test_the_card_says_what_the_student_was_made_of(model: Path) -> None:
    edit_config(model, _name_or_path="Qwen/Qwen3-0.6B")
    _, metadata, text = written(model).split("---\n", 2)
    assert yaml.safe_load(metadata)["base_model"] == "Qwen/Qwen3-0.6B"
    assert yaml.safe_load(metadata)["tags"] == ["opdlm", "block-diffusion"]
    for row in (
        "| base model | Qwen/Qwen3-0.6B |",
        "| teacher | Tiny |",
        "| initialised from | Tiny-b4 |",
        "| objective | random_mask |",
        "| rollouts | 3 |",
        "| updates | 1,234, on 56,789 answer tokens |",
        f"| settings hash | {settings_hash(small_stage(objective='random_mask'))} |",
    ):
        assert row in text


def test_the_same_training_elsewhere_has_the_same_card(model: Path, tmp_path: Path) -> None:
    other = write_teacher(tmp_path / "another")
    assert written(model) == written(other, places=tmp_path)


def test_nothing_else_of_the_folder_changes(model: Path) -> None:
    before = contents(model)
    written(model)
    after = contents(model)
    assert after.pop("README.md")
    assert after == before


def test_a_folder_without_a_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has no config"):
        written(tmp_path)

"""A teacher may be of another size, but not of another vocabulary."""

import json
from pathlib import Path

import pytest

from opdlm.config.models import PretrainSettings
from opdlm.distill.pairing import check_same_tokens
from opdlm.distill.pretrain import pretrain
from opdlm.errors import CheckpointError
from opdlm.files import read_json
from tests.family import SMALL, Family, run, small_stage


def test_a_conversion_goes_with_its_source(family: Family) -> None:
    check_same_tokens(family.teacher, family.student)


def test_a_teacher_of_another_size_teaches(family: Family, tmp_path: Path) -> None:
    wider = SMALL.model_copy(update={"hidden_size": 40, "num_hidden_layers": 3})
    settings = PretrainSettings(architecture=wider, tasks=["TinyMath", "TinyCode"], steps=2, batch_size=2)
    pretrain(settings, tmp_path / "teacher")
    pair = Family(tmp_path / "teacher", family.student, family.prompts)
    run(pair, small_stage(rollouts=1), tmp_path)
    assert (tmp_path / "out").exists()


def test_other_ids_are_refused(family: Family, tmp_path: Path) -> None:
    teacher = copied(family.teacher, tmp_path)
    tokenizer = read_json(teacher / "tokenizer.json")
    vocabulary = tokenizer["model"]["vocab"]
    one, other = sorted(vocabulary, key=vocabulary.get)[100:102]
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]
    (teacher / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(CheckpointError, match=r"2 tokens have other ids in .* need the same tokenizer"):
        check_same_tokens(teacher, family.student)


def test_another_number_of_logits_is_refused(family: Family, tmp_path: Path) -> None:
    teacher = copied(family.teacher, tmp_path)
    (teacher / "config.json").write_text(json.dumps({**read_json(teacher / "config.json"), "vocab_size": 600}))
    with pytest.raises(CheckpointError, match=r"has logits of 600 tokens and .* of 512: teacher and student need one"):
        check_same_tokens(teacher, family.student)


def copied(folder: Path, to: Path) -> Path:
    """A copy of a model folder that can be changed."""
    copy = to / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy

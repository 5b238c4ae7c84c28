"""Answers of a shard: every row once, the same whatever the shards, and errors that name the row."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from opdlm.chat import answer_text
from opdlm.config.decoding import DecodingSettings
from opdlm.config.evaluation import GenerateStage
from opdlm.data.rows import Row
from opdlm.data.tiny import rows
from opdlm.decode.engine import Engine
from opdlm.decode.request import Request, Rollout
from opdlm.errors import CheckpointError, DataError, SettingsError
from opdlm.evaluate.generate import generate_shard, with_progress
from opdlm.evaluate.journal import Journal
from opdlm.files import read_jsonl, write_jsonl
from opdlm.model.checkpoint import load_tokenizer
from opdlm.records import Sample
from tests.family import Family, make_family


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    return make_family(tmp_path_factory.mktemp("family"))


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, rows(["TinyMath"], "test", 7, seed=0))
    return path


def stage(**changes: object) -> GenerateStage:
    how = DecodingSettings(strategy="static", temperature=1.0)
    values = {"prompt": "raw", "max_tokens": 9, "thinking": False, "decoding": how, "seed": 3, "shard": 0, "shards": 1}
    return GenerateStage.model_validate({**values, **changes})


def answers(family: Family, questions: Path, out: Path, **changes: object) -> list[Sample]:
    generate_shard(stage(**changes), family.student, questions, out)
    return read_jsonl(out, Sample)


def test_shards_hold_every_row_once_and_do_not_change_answers(family: Family, questions: Path, tmp_path: Path) -> None:
    whole = answers(family, questions, tmp_path / "whole.jsonl")
    assert [sample.index for sample in whole] == list(range(7))
    parts = [s for k in range(3) for s in answers(family, questions, tmp_path / f"{k}.jsonl", shard=k, shards=3)]
    assert sorted(parts, key=lambda sample: sample.index) == whole


def test_a_sample_tells_its_ids_steps_text_and_end(family: Family, questions: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(family.student)
    for sample in answers(family, questions, tmp_path / "out.jsonl"):
        assert 1 <= len(sample.ids) == len(sample.steps) <= 9
        assert sample.text == answer_text(tokenizer, sample.ids)
        assert "<|" not in sample.text
        assert sample.seed == 3
        assert (sample.finish == "length") == (sample.ids[-1] not in (tokenizer.eos_token_id, tokenizer.pad_token_id))


def test_a_stopped_generation_goes_on_with_the_answers_that_are_missing(
    family: Family, questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = answers(family, questions, tmp_path / "whole.jsonl")
    out, asked = tmp_path / "out.jsonl", []
    original = Engine.stream

    def stopping(self: Engine, requests: list[Request], how: DecodingSettings) -> Iterator[tuple[int, Rollout]]:
        asked.append(len(requests))
        for count, answer in enumerate(original(self, requests, how)):
            if count == 3 and len(asked) == 1:
                raise KeyboardInterrupt
            yield answer

    monkeypatch.setattr(Engine, "stream", stopping)
    with pytest.raises(KeyboardInterrupt):
        generate_shard(stage(), family.student, questions, out)
    assert not out.exists()
    [partial] = tmp_path.glob(".out.jsonl.*.partial")
    partial.write_bytes(partial.read_bytes()[:-5])  # the last answer is torn
    assert answers(family, questions, out) == whole
    assert asked == [7, 5]
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("torn", [1, 10, 60])
def test_a_line_that_lacks_its_end_is_dropped_and_written_again(
    family: Family, questions: Path, tmp_path: Path, torn: int
) -> None:
    kept = [Sample(index=k, seed=3, prompt_tokens=1, ids=[1], steps=[1], text="ä", finish="stop") for k in range(3)]
    out = tmp_path / "out.jsonl"
    with Journal(stage(), family.student, questions, out) as journal:
        for one in kept:
            journal.append(one)
    journal.path.write_bytes(journal.path.read_bytes()[:-torn])
    with Journal(stage(), family.student, questions, out) as journal:
        assert [*journal.samples.values()] == kept[:2]
        journal.append(kept[2])
    with Journal(stage(), family.student, questions, out) as journal:
        assert [*journal.samples.values()] == kept


def test_progress_shows_answers_time_left_and_speeds(capsys: pytest.CaptureFixture[str]) -> None:
    """Answers of an earlier start count as done; speeds are those of this one."""
    answer = Rollout(prompt=[1], ids=[5, 6, 7, 8], steps=[1, 1, 2, 2], tail_ids=[], tail_steps=[], finish="length")
    given = [(0, answer), (1, answer)]
    assert [*with_progress(iter(given), "out.jsonl", 5, 8)] == given
    last = capsys.readouterr().err.split("\r")[-1]
    assert re.search(
        r"^out\.jsonl: +88%.* 7/8 \[\d\d:\d\d<\d\d:\d\d, .*answer/s, tokens/s=\d+, tokens/forward=2\.00\]", last
    )


def test_answers_of_other_settings_are_not_taken_up(family: Family, questions: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with Journal(stage(seed=1), family.student, questions, out) as journal:
        journal.append(Sample(index=0, seed=1, prompt_tokens=1, ids=[1], steps=[1], text="x", finish="stop"))
    with Journal(stage(seed=2), family.student, questions, out) as journal:
        assert journal.samples == {}
    with Journal(stage(seed=1), family.student, questions, out) as journal:
        assert list(journal.samples) == [0]


def test_seeds_change_sampled_answers_and_not_greedy_ones(family: Family, questions: Path, tmp_path: Path) -> None:
    def ids(seed: int, temperature: float) -> list[list[int]]:
        how = DecodingSettings(strategy="static", temperature=temperature)
        return [s.ids for s in answers(family, questions, tmp_path / "out.jsonl", seed=seed, decoding=how)]

    assert ids(1, 1.0) != ids(2, 1.0)
    assert ids(1, 0.0) == ids(2, 0.0)


def test_a_prompt_without_room_for_its_answer_names_file_and_line(family: Family, tmp_path: Path) -> None:
    path, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    write_jsonl(path, [Row(question="short"), Row(question="long " * 200)])
    message = r"rows\.jsonl, line 2: a prompt of \d+ tokens and max_tokens=9 exceed the model's 256 positions"
    with pytest.raises(DataError, match=message):
        generate_shard(stage(), family.student, path, out)
    assert not out.exists()


def test_what_cannot_be_decoded_is_refused(family: Family, questions: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="needs a block-diffusion model"):
        generate_shard(stage(), family.teacher, questions, tmp_path / "out.jsonl")
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        generate_shard(stage(), tmp_path, questions, tmp_path / "out.jsonl")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match="has no rows"):
        generate_shard(stage(), family.student, tmp_path / "empty.jsonl", tmp_path / "out.jsonl")

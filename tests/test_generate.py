"""Answers of a shard: every row once, the same whatever the shards, and errors that name the row."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from opdlm.chat import answer_text
from opdlm.config.answers import GenerateStage
from opdlm.config.decoding import DecodingSettings
from opdlm.config.wording import PLAIN
from opdlm.data.rows import Row
from opdlm.data.tiny import rows
from opdlm.decode.engine import Engine
from opdlm.decode.request import Request, Rollout
from opdlm.errors import CheckpointError, DataError, SettingsError
from opdlm.evaluate.generate import generate_shard, with_progress
from opdlm.evaluate.journal import Journal, KeptAnswer
from opdlm.files import read_json, read_jsonl, write_jsonl
from opdlm.identity import canonical_json
from opdlm.model.checkpoint import load_tokenizer
from opdlm.records import Cost, Sample
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
    values = {"prompt": PLAIN, "max_tokens": 9, "thinking": False, "decoding": how, "seed": 3, "shard": 0, "shards": 1}
    return GenerateStage.model_validate({**values, **changes})


def answers(family: Family, questions: Path, out: Path, kept: Path | None = None, **changes: object) -> list[Sample]:
    generate_shard(stage(**changes), family.student, questions, out, kept or out.with_suffix(".kept"))
    return read_jsonl(out, Sample)


def answer(index: int, seed: int = 3) -> Sample:
    return Sample(index=index, seed=seed, prompt_tokens=1, ids=[1], steps=[1], text="ä", finish="stop")


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


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many answers the engine was asked for, call by call; the first call is stopped after three."""
    calls: list[int] = []
    original = Engine.stream

    def stopping(self: Engine, requests: list[Request], how: DecodingSettings) -> Iterator[tuple[int, Rollout]]:
        calls.append(len(requests))
        for count, one in enumerate(original(self, requests, how)):
            if count == 3 and len(calls) == 1:
                raise KeyboardInterrupt
            yield one

    monkeypatch.setattr(Engine, "stream", stopping)
    return calls


def test_a_stopped_generation_goes_on_with_the_answers_that_are_missing(
    family: Family, questions: Path, tmp_path: Path, asked: list[int]
) -> None:
    out = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        answers(family, questions, out)
    assert not out.exists()
    [journal] = tmp_path.glob("out.kept/*/0-of-1.jsonl")
    journal.write_bytes(journal.read_bytes()[:-5])  # the last answer is torn
    resumed = answers(family, questions, out)
    assert asked == [7, 5]
    assert resumed == answers(family, questions, tmp_path / "whole.jsonl")


def test_finished_answers_are_found_again_and_divided_otherwise(
    family: Family, questions: Path, tmp_path: Path, asked: list[int]
) -> None:
    """The workflow deletes outputs of a job that it lost sight of, and people change their minds about shards."""
    out, kept = tmp_path / "out.jsonl", tmp_path / "kept"
    with pytest.raises(KeyboardInterrupt):
        answers(family, questions, out, kept)
    whole = answers(family, questions, out, kept)
    out.unlink()
    assert answers(family, questions, out, kept) == whole
    parts = [s for k in range(3) for s in answers(family, questions, out, kept, shard=k, shards=3)]
    assert sorted(parts, key=lambda sample: sample.index) == whole
    assert asked == [7, 4]


def test_two_generations_of_one_shard_share_the_work(family: Family, questions: Path, tmp_path: Path) -> None:
    """A killed workflow leaves its jobs running; the next one starts the same beside them."""
    script = Path(__file__).parents[1] / "workflow_scripts" / "generate.py"
    where = {"model": family.student, "rows": questions, "kept": tmp_path / "kept"}
    command = [sys.executable, str(script), "--settings", canonical_json(stage()), "--device", "cpu"]
    command += [f"--{name}={place}" for name, place in where.items()]
    outs = [tmp_path / "first.jsonl", tmp_path / "second.jsonl"]
    running = [subprocess.Popen([*command, f"--out={out}", f"--cost={out}.cost"]) for out in outs]
    assert [process.wait() for process in running] == [0, 0]
    assert read_jsonl(outs[0], Sample) == read_jsonl(outs[1], Sample)
    [journal] = tmp_path.glob("kept/*/*.jsonl")
    assert len(journal.read_text().splitlines()) == 7
    costs = [Cost.model_validate(read_json(Path(f"{out}.cost"))) for out in outs]
    assert costs[0] == costs[1]
    assert costs[0].seconds == pytest.approx(sum(kept.seconds for kept in read_jsonl(journal, KeptAnswer)))
    assert (costs[0].devices, costs[0].device, costs[0].gpu_hours) == (0, "cpu", 0)


@pytest.mark.parametrize("torn", [1, 10, 60])
def test_a_line_that_lacks_its_end_is_dropped_and_written_again(
    family: Family, questions: Path, tmp_path: Path, torn: int
) -> None:
    three = [answer(index) for index in range(3)]

    def journal() -> Journal:
        return Journal(stage(), family.student, questions, tmp_path, range(3))

    with journal() as first:
        for one in three:
            first.append(one)
    first.path.write_bytes(first.path.read_bytes()[:-torn])
    with journal() as second:
        assert second.samples == three[:2]
        second.append(three[2])
    with journal() as third:
        assert third.samples == three


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
    def journal(seed: int) -> Journal:
        return Journal(stage(seed=seed), family.student, questions, tmp_path, [0])

    with journal(1) as first:
        first.append(answer(0, seed=1))
    with journal(2) as second:
        assert second.samples == []
    with journal(1) as third:
        assert third.samples == [answer(0, seed=1)]


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
        answers(family, path, out)
    assert not out.exists()


def test_what_cannot_be_decoded_is_refused(family: Family, questions: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="needs a block-diffusion model"):
        generate_shard(stage(), family.teacher, questions, tmp_path / "out.jsonl", tmp_path)
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        generate_shard(stage(), tmp_path, questions, tmp_path / "out.jsonl", tmp_path)
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match="has no rows"):
        answers(family, tmp_path / "empty.jsonl", tmp_path / "out.jsonl")

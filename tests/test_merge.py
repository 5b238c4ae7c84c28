"""Merging: right means, and no result out of incomplete or mixed-up files."""

from pathlib import Path

import pytest

from opdlm.data.rows import Row
from opdlm.errors import DataError
from opdlm.evaluate.merge import merge
from opdlm.files import read_json, write_json, write_jsonl
from opdlm.records import Sample
from opdlm.verdicts import Merged, Scores, Verdict


def write_shard(folder: Path, name: str, seed: int, correct: dict[int, bool]) -> tuple[Path, Path]:
    """A shard whose answers have four tokens, revealed in two steps, and its verdicts."""
    samples = [
        Sample(index=index, seed=seed, prompt_tokens=3, ids=[5, 6, 7, 8], steps=[1, 1, 2, 1], text="x", finish="stop")
        for index in correct
    ]
    verdicts = [
        Verdict(index=index, correct=right, score=float(right), reason="correct" if right else "wrong")
        for index, right in correct.items()
    ]
    sample_file, score_file = folder / f"{name}.jsonl", folder / f"{name}.json"
    write_jsonl(sample_file, samples)
    write_json(score_file, Scores(samples=str(sample_file), verdicts=verdicts).model_dump())
    return sample_file, score_file


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    file = tmp_path / "rows.jsonl"
    write_jsonl(file, [Row(question=str(number)) for number in range(4)])
    return file


def merged(shards: list[tuple[Path, Path]], rows: Path) -> Merged:
    out = rows.parent / "merged.json"
    merge([sample for sample, _ in shards], [score for _, score in shards], rows, out)
    return Merged.model_validate(read_json(out))


def test_means_over_rows_and_seeds(tmp_path: Path, rows: Path) -> None:
    shards = [
        write_shard(tmp_path, "0-0", 0, {0: True, 2: True}),
        write_shard(tmp_path, "0-1", 0, {1: False, 3: True}),
        write_shard(tmp_path, "1-0", 1, {0: False, 2: True}),
        write_shard(tmp_path, "1-1", 1, {1: False, 3: False}),
    ]
    result = merged(shards, rows)
    assert result.accuracy == 50
    assert result.accuracy_by_seed == [75, 25]
    assert result.accuracy_std == pytest.approx(35.3553, abs=1e-3)
    assert result.reasons == {"correct": 4, "wrong": 4}
    assert (result.rows, result.mean_length, result.tokens_per_step) == (4, 4, 2)
    assert result.sample_files == [str(sample) for sample, _ in shards]


def test_one_seed_has_no_deviation(tmp_path: Path, rows: Path) -> None:
    assert merged([write_shard(tmp_path, "0-0", 0, dict.fromkeys(range(4), True))], rows).accuracy_std is None


def test_a_row_without_an_answer_is_named(tmp_path: Path, rows: Path) -> None:
    with pytest.raises(DataError, match=r"seed 0: no answer to row 3 .*0-0\.jsonl"):
        merged([write_shard(tmp_path, "0-0", 0, {0: True, 1: True, 2: True})], rows)


def test_a_row_answered_twice_is_named(tmp_path: Path, rows: Path) -> None:
    shards = [
        write_shard(tmp_path, "0-0", 0, dict.fromkeys(range(4), True)),
        write_shard(tmp_path, "0-1", 0, {2: True}),
    ]
    with pytest.raises(DataError, match=r"0-1\.jsonl: row 2 of seed 0 is answered twice"):
        merged(shards, rows)


def test_verdicts_must_be_those_of_the_samples(tmp_path: Path, rows: Path) -> None:
    samples, scores = write_shard(tmp_path, "0-0", 0, dict.fromkeys(range(4), True))
    judged = Scores.model_validate(read_json(scores))
    write_json(scores, judged.model_copy(update={"verdicts": judged.verdicts[:3]}).model_dump())
    with pytest.raises(DataError, match=r"0-0\.json: there is not exactly one verdict"):
        merged([(samples, scores)], rows)


def test_scores_of_another_file_are_refused(tmp_path: Path, rows: Path) -> None:
    first = write_shard(tmp_path, "0-0", 0, {0: True, 2: True})
    second = write_shard(tmp_path, "0-1", 0, {1: True, 3: True})
    with pytest.raises(DataError, match=r"0-1\.json judges .*0-1\.jsonl, not .*0-0\.jsonl"):
        merged([(first[0], second[1]), (second[0], first[1])], rows)


def test_truncated_files_are_named(tmp_path: Path, rows: Path) -> None:
    samples, scores = write_shard(tmp_path, "0-0", 0, dict.fromkeys(range(4), True))
    samples.write_text(samples.read_text()[:-20])
    with pytest.raises(DataError, match=r"0-0\.jsonl, line 4: .*truncated"):
        merged([(samples, scores)], rows)
    samples, scores = write_shard(tmp_path, "0-0", 0, dict.fromkeys(range(4), True))
    scores.write_text(scores.read_text()[:-20])
    with pytest.raises(DataError, match=r"0-0\.json is not valid JSON"):
        merged([(samples, scores)], rows)
    assert not (tmp_path / "merged.json").exists()


def test_each_language_has_its_own_mean(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    write_jsonl(file, [Row(question="?", subdivision=language) for language in ("de", "de", "th")])
    result = merged([write_shard(tmp_path, "0-0", 0, {0: True, 1: False, 2: False})], file)
    assert result.accuracy_by_subdivision == {"de": 50, "th": 0}
    assert result.accuracy == pytest.approx(100 / 3)


def test_the_published_accuracy_is_what_the_published_harness_counts(tmp_path: Path, rows: Path) -> None:
    samples, scores = write_shard(tmp_path, "0-0", 0, dict.fromkeys(range(4), True))
    judged = Scores.model_validate(read_json(scores))
    judged.verdicts[2].published = False
    write_json(scores, judged.model_dump())
    result = merged([(samples, scores)], rows)
    assert (result.accuracy, result.published_accuracy) == (100, 75)


def test_verdicts_that_say_nothing_of_the_published_harness_agree_with_it() -> None:
    old = {"index": 0, "correct": True, "score": 1.0, "reason": "correct"}
    assert Verdict.model_validate(old).published
    assert not Verdict.model_validate({**old, "correct": False}).published


def test_livebench_is_a_mean_of_categories_and_of_their_tasks(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    places = [("math", "olympiad"), ("math", "olympiad"), ("math", "AMPS_Hard"), ("language", "typos")]
    rows = [Row(question="?", livebench_category=category, livebench_task=task) for category, task in places]
    write_jsonl(file, rows)
    result = merged([write_shard(tmp_path, "0-0", 0, {0: True, 1: False, 2: False, 3: True})], file)
    assert result.accuracy == pytest.approx(100 * ((0.5 + 0) / 2 + 1) / 2)
    assert result.published_accuracy == 50

"""One benchmark's result out of the answers and verdicts of all its shards."""

from collections import Counter
from pathlib import Path
from statistics import mean, stdev

from pydantic import ValidationError

from opdlm.data.rows import Row
from opdlm.errors import DataError
from opdlm.files import read_json, read_jsonl, write_json
from opdlm.records import Sample
from opdlm.verdicts import Merged, Scores, Verdict


def merge(samples: list[Path], scores: list[Path], rows: Path, out: Path) -> None:
    """Write `Merged`, the means over all rows and seeds.

    Args:
        samples: sample files, all shards of all seeds.
        scores: the score files of `samples`, in the same order.

    Raises:
        DataError: a file is malformed, belongs to another, or some row of some seed lacks a verdict or has two.
    """
    if len(samples) != len(scores) or not samples:
        raise DataError(f"{out}: {len(samples)} sample files but {len(scores)} score files")
    asked = read_jsonl(rows, Row)
    answers: list[Sample] = []
    points: dict[int, dict[int, Verdict]] = {}
    reasons: Counter[str] = Counter()
    for sample_file, score_file in zip(samples, scores, strict=True):
        shard = read_jsonl(sample_file, Sample)
        verdicts = _read_verdicts(score_file, sample_file, shard)
        for sample in shard:
            seed = points.setdefault(sample.seed, {})
            if sample.index in seed:
                raise DataError(f"{sample_file}: row {sample.index} of seed {sample.seed} is answered twice")
            seed[sample.index] = verdicts[sample.index]
            reasons[verdicts[sample.index].reason] += 1
        answers += shard
    _check_complete(points, len(asked), samples)
    by_seed = [100 * benchmark_mean(asked, points[seed]) for seed in sorted(points)]
    verdicts_of = {index: [points[seed][index] for seed in points] for index in range(len(asked))}
    merged = Merged(
        accuracy=mean(by_seed),
        published_accuracy=100 * mean(verdict.published for given in verdicts_of.values() for verdict in given),
        accuracy_by_subdivision=_by_subdivision(asked, verdicts_of),
        accuracy_by_seed=by_seed,
        accuracy_std=stdev(by_seed) if len(by_seed) > 1 else None,
        rows=len(asked),
        reasons=dict(sorted(reasons.items())),
        mean_length=mean(len(answer.ids) for answer in answers),
        tokens_per_step=mean(len(answer.ids) / max(len(set(answer.steps)), 1) for answer in answers),
        sample_files=[str(file) for file in samples],
        score_files=[str(file) for file in scores],
    )
    write_json(out, merged.model_dump(mode="json"))


def benchmark_mean(rows: list[Row], verdicts: dict[int, Verdict]) -> float:
    """Mean score over rows; with LiveBench's tasks over categories of means over tasks (arXiv 2406.19314)."""
    tasks: dict[str | None, dict[str | None, list[float]]] = {}
    for index, row in enumerate(rows):
        category = tasks.setdefault(row.livebench_category, {})
        category.setdefault(row.livebench_task, []).append(verdicts[index].score)
    return mean(mean(mean(scores) for scores in category.values()) for category in tasks.values())


def _by_subdivision(rows: list[Row], verdicts: dict[int, list[Verdict]]) -> dict[str, float]:
    scores: dict[str, list[float]] = {}
    for index, row in enumerate(rows):
        if row.subdivision is not None:
            scores.setdefault(row.subdivision, []).extend(verdict.score for verdict in verdicts[index])
    return {name: 100 * mean(scores[name]) for name in sorted(scores)}


def _read_verdicts(file: Path, sample_file: Path, shard: list[Sample]) -> dict[int, Verdict]:
    try:
        scores = Scores.model_validate(read_json(file))
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if Path(scores.samples).resolve() != Path(sample_file).resolve():
        raise DataError(f"{file} judges {scores.samples}, not {sample_file}")
    if sorted(verdict.index for verdict in scores.verdicts) != sorted(sample.index for sample in shard):
        raise DataError(f"{file}: there is not exactly one verdict for each row answered in {sample_file}")
    return {verdict.index: verdict for verdict in scores.verdicts}


def _check_complete(points: dict[int, dict[int, Verdict]], expected: int, samples: list[Path]) -> None:
    for seed, found in points.items():
        missing = sorted(set(range(expected)) - set(found))
        unknown = sorted(set(found) - set(range(expected)))
        if missing or unknown:
            what = (
                f"no answer to row {missing[0]}" if missing else f"an answer to row {unknown[0]}, which does not exist"
            )
            files = ", ".join(map(str, samples))
            raise DataError(f"seed {seed}: {what} ({len(found)} of {expected} rows answered in {files})")

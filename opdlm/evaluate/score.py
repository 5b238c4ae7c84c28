"""The verdicts of one shard of answers."""

from pathlib import Path

from opdlm.config.evaluation import ScoreStage
from opdlm.data.rows import Row
from opdlm.errors import DataError
from opdlm.evaluate.scorers.registry import SCORERS
from opdlm.files import read_jsonl, write_json
from opdlm.records import Sample, Scores


def score_shard(stage: ScoreStage, rows_file: Path, samples_file: Path, out: Path) -> None:
    """Judge the answers of a sample file and write `Scores`.

    Raises:
        DataError: a file is missing, truncated or malformed, or an answer refers to no row, or to a row that another
            answer refers to.
        SandboxError: programs have to be run and there is no safe way here.
    """
    rows = read_jsonl(rows_file, Row)
    samples = read_jsonl(samples_file, Sample)
    _check(samples, len(rows), samples_file)
    verdicts = SCORERS[stage.scorer](rows, samples)
    write_json(out, Scores(samples=str(samples_file), verdicts=verdicts).model_dump(mode="json"))


def _check(samples: list[Sample], rows: int, file: Path) -> None:
    seen: set[int] = set()
    for number, sample in enumerate(samples, start=1):
        if not 0 <= sample.index < rows:
            raise DataError(f"{file}, sample {number}: index {sample.index}, but there are {rows} rows")
        if sample.index in seen:
            raise DataError(f"{file}, sample {number}: row {sample.index} is answered twice")
        seen.add(sample.index)

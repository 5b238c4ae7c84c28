"""Answers from anywhere, judged by rows in our schema or the published one, without a registered benchmark."""

from collections import Counter
from pathlib import Path

from opdlm.config.data import Source
from opdlm.config.evaluation import ScoreStage
from opdlm.data.sources import read_file
from opdlm.errors import DataError
from opdlm.evaluate.score import judge
from opdlm.files import iterate_jsonl, read_jsonl
from opdlm.records import Record, Sample
from opdlm.verdicts import Reason, Scores, Verdict


class Response(Record):
    """An answer of which nothing but its text is known."""

    index: int
    """Row that it answers."""
    response: str


class Summary(Record):
    """What the verdicts come to."""

    answers: int
    correct: int
    accuracy: float
    """Per cent of the answers that are correct."""
    published_accuracy: float
    """Per cent of the answers that the published harness counts as correct."""
    score: float
    """Per cent, mean of the scores; more than the accuracy where answers get partial credit."""
    reasons: dict[Reason, int]


class ResponseScores(Record):
    """The verdicts on bare answers."""

    summary: Summary
    verdicts: list[Verdict]


def score_file(stage: ScoreStage, rows_file: Path, answers_file: Path, out: Path, unsafe: bool = False) -> None:
    """Judge answers and write `Scores` if they are those of `opdlm generate`, `ResponseScores` if they are bare ones.

    Args:
        unsafe: run programs without a sandbox where there is no safe way.

    Raises:
        DataError: a file is missing, truncated or malformed, or an answer refers to no row, or to a row that another
            answer refers to.
        SandboxError: programs have to be run, there is no safe way here, and `unsafe` does not permit another.
    """
    rows = read_file(Source(layout="rows", file=str(rows_file)), rows_file, None)
    if not _is_bare(answers_file):
        samples = read_jsonl(answers_file, Sample)
        judge(
            stage.scorer,
            rows,
            samples,
            answers_file,
            out,
            lambda judged: Scores(samples=str(answers_file), verdicts=judged),
            unsafe,
        )
        return
    samples = [_sample(response) for response in read_jsonl(answers_file, Response)]
    judge(stage.scorer, rows, samples, answers_file, out, summed_up, unsafe)


def summed_up(verdicts: list[Verdict]) -> ResponseScores:
    """Verdicts, of which there must be one at least, with counts and means of them."""
    return ResponseScores(summary=summary(verdicts), verdicts=verdicts)


def summary(verdicts: list[Verdict]) -> Summary:
    """Counts and means of verdicts."""
    correct, count = sum(verdict.correct for verdict in verdicts), len(verdicts)
    return Summary(
        answers=count,
        correct=correct,
        accuracy=100 * correct / count,
        published_accuracy=100 * sum(verdict.published for verdict in verdicts) / count,
        score=100 * sum(verdict.score for verdict in verdicts) / count,
        reasons=dict(Counter(verdict.reason for verdict in verdicts)),
    )


def _is_bare(file: Path) -> bool:
    first = next((value for _, value in iterate_jsonl(file)), None)
    if first is None:
        raise DataError(f"{file} has no rows")
    return isinstance(first, dict) and "response" in first


def _sample(response: Response) -> Sample:
    # Whether it was cut off is not known; a scorer reads the text and this only.
    return Sample(
        index=response.index, seed=0, prompt_tokens=0, ids=[], steps=[], text=response.response, finish="stop"
    )

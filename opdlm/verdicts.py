"""Records of judgements: verdicts, and their means. What trains or answers does not import them (docs/design.md)."""

from typing import Any, Literal

from pydantic import model_validator

from opdlm.records import Record

Reason = Literal[
    "correct", "wrong", "no_answer", "truncated", "timeout", "runtime_error", "syntax_error", "memory", "output_limit"
]


class Verdict(Record):
    """The judgement of one answer."""

    index: int
    correct: bool
    published: bool = False
    """Whether the published harness counts the answer as correct; the same as `correct` where nothing else is said."""
    score: float
    reason: Reason
    detail: str = ""

    @model_validator(mode="before")
    @classmethod
    def _published_as_judged(cls, given: Any) -> Any:
        return {"published": given.get("correct"), **given} if isinstance(given, dict) else given


class Scores(Record):
    """The verdicts of one shard."""

    samples: str
    """Path of the sample file that was judged."""
    verdicts: list[Verdict]


class Merged(Record):
    """A benchmark's result for one model and decoding, over all rows and seeds."""

    accuracy: float
    """Per cent, mean over rows and seeds; of LiveBench the mean over categories of the means over their tasks."""
    published_accuracy: float
    """Per cent of all answers that the published harness counts as correct, rows counted alike and no partial credit:
    the number to hold beside the paper's."""
    accuracy_by_subdivision: dict[str, float]
    """Per cent for each language, subject or the like that rows name; empty if they name none."""
    accuracy_by_seed: list[float]
    accuracy_std: float | None
    """Standard deviation over seeds; none with a single seed."""
    rows: int
    reasons: dict[str, int]
    mean_length: float
    """Tokens an answer, end token included."""
    tokens_per_step: float
    """Mean over answers of tokens per denoising step (spec 6.6)."""
    sample_files: list[str]
    score_files: list[str]

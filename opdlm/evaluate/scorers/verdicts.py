"""Verdicts, made the same way by every scorer."""

from opdlm.records import Sample
from opdlm.verdicts import Reason, Verdict

HALF = 0.5


def verdict(sample: Sample, reason: Reason, detail: str = "", published: bool | None = None) -> Verdict:
    """The verdict on one answer: 1 if correct, else 0.

    Args:
        published: whether the published harness counts the answer as correct; none if it does as we do.
    """
    correct = reason == "correct"
    return Verdict(
        index=sample.index,
        correct=correct,
        published=correct if published is None else published,
        score=float(correct),
        reason=reason,
        detail=detail,
    )


def graded(sample: Sample, score: float, detail: str = "") -> Verdict:
    """The verdict on an answer with partial credit: correct above one half, as the published evaluation counts."""
    correct = score > HALF
    reason: Reason = "correct" if correct else "wrong"
    return Verdict(index=sample.index, correct=correct, score=score, reason=reason, detail=detail)


def unanswered(sample: Sample, published: bool = False) -> Verdict:
    """The verdict on a text without an answer, which may have been cut off before it came."""
    return verdict(sample, "truncated" if sample.finish == "length" else "no_answer", published=published)

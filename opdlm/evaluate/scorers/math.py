"""Mathematics: math-verify on the last boxed expression of an answer.

Only the last `\\boxed{...}` counts: math-verify by itself would take any last number of the text for the answer, and
join several boxes into one set. Comparing runs in a worker process that is killed when it takes too long, because the
time limits of math-verify need the main thread, and fail silently elsewhere.
"""

import json
import re
import select
import subprocess
import sys
import unicodedata
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import opdlm
from opdlm.data.rows import Row
from opdlm.errors import DataError
from opdlm.evaluate.scorers import published
from opdlm.evaluate.scorers.verdicts import unanswered, verdict
from opdlm.records import Sample
from opdlm.verdicts import Verdict

if TYPE_CHECKING:  # it runs in a process of its own; named here, its code is part of the stage's identity
    from opdlm.evaluate.scorers import math_worker as math_worker

SECONDS = 10.0
"""Longest comparison of one answer."""
PUBLISHED_SECONDS = 25.0
"""Patience with the published rule, which gives each of its four steps 5 s."""
START_SECONDS = 120.0
LONGEST = 2000
"""Characters of an answer that is still compared; gold answers have fewer than 200."""


def score(rows: list[Row], samples: list[Sample]) -> list[Verdict]:
    """Judge answers by their last boxed expression.

    Raises:
        DataError: a row's own answer cannot be read by math-verify.
    """
    with Comparer() as comparer:
        return [_judged(comparer, rows[sample.index], sample) for sample in samples]


def _judged(comparer: "Comparer", row: Row, sample: Sample) -> Verdict:
    counted = comparer.published(row.ground_truth_answer, published.seen(sample))
    answer = last_boxed(sample.text)
    if answer is None or not answer.strip():
        return unanswered(sample, counted)
    if len(answer) > LONGEST:
        return verdict(sample, "wrong", f"the boxed answer has {len(answer)} characters", counted)
    same = comparer.same(normalised(row.ground_truth_answer), normalised(answer))
    if same is None:
        return verdict(sample, "timeout", f"comparing took more than {SECONDS:g} s", counted)
    return verdict(sample, "correct" if same else "wrong", f"answered {answer[:100]}", counted)


def last_boxed(text: str) -> str | None:
    """What stands in the last complete `\\boxed{...}` (or `\\fbox{...}`), or none."""
    for match in reversed(list(re.finditer(r"\\f?box(?:ed)?\s*\{", text))):
        end = _closing(text, match.end())
        if end is not None:
            return text[match.end() : end]
    return None


def _closing(text: str, start: int) -> int | None:
    depth = 1
    for match in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, start):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.start()
    return None


def normalised(answer: str) -> str:
    """An answer with ASCII digits, without thin spaces in numbers, and whole numbers without `.0` and leading zeros.

    A full stop at the end goes, and so does a font around all of it, but not around words: `\\text{east}` stays.
    """
    answer = "".join(str(unicodedata.digit(sign)) if sign.isdecimal() else sign for sign in answer)
    answer = _without_font(answer.strip().rstrip("."))
    answer = re.sub(r"(?<=\d)(?:,?\\[,;:! ] *|\{,\}| )(?=\d{3}(?!\d))", "", answer)
    whole = re.fullmatch(r"([+-]?)0*(\d+)(?:\.0*)?", answer)
    return f"{whole[1].replace('+', '')}{whole[2]}" if whole else answer


def _without_font(answer: str) -> str:
    font = re.match(r"\\(?:text|math)(?:|bf|rm|it|normal)\{", answer)
    if font and _closing(answer, font.end()) == len(answer) - 1:
        content = answer[font.end() : -1].strip()
        return content if re.search(r"[\d\\]", content) else answer
    return answer


class Comparer:
    """math-verify in a process of its own, started again after an answer that it could not cope with."""

    def __enter__(self) -> "Comparer":
        self._worker: subprocess.Popen[bytes] | None = None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def same(self, gold: str, answer: str, tolerance: float = 0.0) -> bool | None:
        """Whether two expressions are equal, or values no further apart than the tolerance.

        The answer is none if that took too long or too much memory.

        Raises:
            DataError: `gold` is not an expression.
        """
        told = self._asked(["same", gold, answer, tolerance], SECONDS)
        if told == "unread":
            raise DataError(f"the ground truth answer {gold!r} is not an expression that math-verify reads")
        return None if told is None else told == "same"

    def published(self, gold: str, text: str) -> bool:
        """Whether the published harness counts a whole answer, end token included, as correct."""
        return self._asked(["published", gold, text], PUBLISHED_SECONDS) == "same"

    def _asked(self, question: list[Any], seconds: float) -> str | None:
        """What the worker says; none if it takes too long or too much memory."""
        worker = self._running()
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(json.dumps(question).encode() + b"\n")
        worker.stdin.flush()
        line = worker.stdout.readline() if _readable(worker.stdout.fileno(), seconds) else b""
        if not line:
            self._stop()
            return None
        return str(json.loads(line))

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._worker is None:
            self._worker = subprocess.Popen(
                [sys.executable, "-m", "opdlm.evaluate.scorers.math_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=Path(opdlm.__file__).parents[1],
            )
            assert self._worker.stdout is not None
            started = _readable(self._worker.stdout.fileno(), START_SECONDS) and self._worker.stdout.readline()
            if not started:
                self._stop()
                raise DataError("the worker of the math scorer did not start; is math-verify installed?")
        return self._worker

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.communicate()
            self._worker = None


def _readable(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))

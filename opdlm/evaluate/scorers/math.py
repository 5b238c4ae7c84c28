"""Mathematics: math-verify on the last boxed expression of an answer.

Only the last `\\boxed{...}` counts: math-verify by itself would take any last number of the text for the answer, and
join several boxes into one set. A finished answer without a box may mark its result otherwise (`STATED`). Comparing
runs in a worker process that is killed when it takes too long, because the time limits of math-verify need the main
thread, and fail silently elsewhere.
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

STATED = re.compile(
    r"(?:####|[\"“](?i:answer)[\"”]\s{0,9}:|(?i:\bfinal\s+answer)(?:[\s*_]{0,9}(?i:is)\b)?[\s*_]{0,9}[:：]?"
    r"|(?i:\banswer\s+is)[\s*_]{0,9}[:：]?|(?:^|\n)[#*_>\s]{0,9}(?:(?i:answer)|A)[\s*_]{0,9}[:：])"
    r"[\s*_]{0,9}(?=([^\n]{1,500}))"
)
"""Marks of a final answer: `#### 18`, the field `"answer"`, `The answer is 18`, a line `Answer: 18` or `A: 18`."""
MARKS = 9
"""So many of them are tried, from the last."""
QUANTITY = re.compile(r"([+-]?(?:\\?\$)?[+-]?\d[\d.,]*) ([a-z]{3,}[a-z -]*)", re.IGNORECASE)
NO_UNITS = re.compile(
    r"\b(?:and|or|to|by|plus|minus|times|over|mod|choose|pi|sqrt|dozen|hundred|thousand|million|billion)\b"
)
"""Words behind a number that change it."""
OTHER_SIGNS = {"°": "^\\circ", "–": "-", "\\varnothing": "\\emptyset", "€": "", "£": "", "¥": "", "₹": ""}


def score(rows: list[Row], samples: list[Sample]) -> list[Verdict]:
    """Judge answers by their last boxed expression.

    Raises:
        DataError: a row's own answer cannot be read by math-verify.
    """
    with Comparer() as comparer:
        return [_judged(comparer, rows[sample.index], sample) for sample in samples]


def _judged(comparer: "Comparer", row: Row, sample: Sample) -> Verdict:
    counted = comparer.published(row.ground_truth_answer, published.seen(sample))
    answer = final_answer(sample.text, finished=sample.finish != "length")
    if answer is None:
        return unanswered(sample, counted)
    if len(answer) > LONGEST:
        return verdict(sample, "wrong", f"the boxed answer has {len(answer)} characters", counted)
    same = comparer.same(normalised(row.ground_truth_answer), normalised(answer))
    if same is None:
        return verdict(sample, "timeout", f"comparing took more than {SECONDS:g} s", counted)
    return verdict(sample, "correct" if same else "wrong", f"answered {answer[:100]}", counted)


def final_answer(text: str, finished: bool = True) -> str | None:
    """The content of the last box, else what a finished text marks as its answer, or none."""
    answer = last_boxed(text) or ""
    if not answer.strip() and finished:
        answer = stated(text) or ""
    return answer if answer.strip() else None


def stated(text: str) -> str | None:
    """The last expression that a text marks as its final answer without a box, or none."""
    expressions = (_expression(match[1]) for match in reversed(list(STATED.finditer(text))[-MARKS:]))
    return next((each for each in expressions if each), None)


def _expression(line: str) -> str | None:
    """The expression that a line begins with: between dollars, in bold, by itself, or a number before words."""
    line = line.replace("\\\\", "\\").strip(' \t*_"“”},')
    span = re.match(r"\$+([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]|(.+?)\*\*", line)
    line = next(filter(None, span.groups())) if span else line.rpartition("=")[2].strip()
    if not re.search(r"(?<![\\a-zA-Z])[a-zA-Z]{3,}", line):
        return line if re.search(r"[\d\\]", line) else None
    number = re.match(r"[+-]?(?:\\?[$€£])?[+-]?\d[\d,]*(?:\.\d+)?(?:/\d+)?%?", line)
    return number[0] if number else None


def last_boxed(text: str) -> str | None:
    """What stands in the last complete `\\boxed{...}` (or `\\fbox{...}`), or none."""
    closings = _closings(text)
    for match in reversed(list(re.finditer(r"\\f?box(?:ed)?\s*\{", text))):
        end = closings.get(match.end() - 1)
        if end is not None:
            return text[match.end() : end]
    return None


def _closings(text: str) -> dict[int, int]:
    """Where each brace that is closed closes; an escaped one is none."""
    closings, opened = {}, []
    for match in re.finditer(r"\\.|[{}]", text, re.DOTALL):
        if match[0] == "{":
            opened.append(match.start())
        elif match[0] == "}" and opened:
            closings[opened.pop()] = match.start()
    return closings


def normalised(answer: str) -> str:
    """An answer with ASCII digits, without thin spaces in numbers, and whole numbers without `.0` and leading zeros.

    Spaces around it go, and a full stop at its end. So does a font around all of it, but not around words:
    `\\text{east}` stays. What a number counts becomes text, `1 1/2` a mixed fraction.
    """
    answer = "".join(str(unicodedata.digit(sign)) if sign.isdecimal() else sign for sign in answer)
    for sign, usual in OTHER_SIGNS.items():
        answer = answer.replace(sign, usual)
    answer = _without_font(re.sub(r"^(?:\s|\\[,;:! ])+|(?:[\s.,;\\]|\\[:!])+$", "", answer))
    answer = re.sub(r"^([+-]?\d+) (\d+)/(\d+)$", r"\1\\frac{\2}{\3}", answer)
    counted = QUANTITY.fullmatch(answer)
    if counted and not NO_UNITS.search(counted[2]):
        answer = f"{counted[1]}\\text{{ {counted[2]}}}"
    answer = re.sub(r"(?<=\d)(?:,?\\[,;:! ] *|\{,\}| )(?=\d{3}(?!\d))", "", answer)
    whole = re.fullmatch(r"([+-]?)0*(\d+)(?:\.0*)?", answer)
    return f"{whole[1].replace('+', '')}{whole[2]}" if whole else answer


def _without_font(answer: str) -> str:
    font = re.match(r"\\(?:(?:text|math)(?:|bf|rm|it|normal)|boldsymbol|bm|bf|underline)\{|\{", answer)
    if font and _closings(answer).get(font.end() - 1) == len(answer) - 1:
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

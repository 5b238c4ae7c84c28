"""Multiple choice: every question ends with its options, one a line, as `A. text`."""

import random
import re
from collections.abc import Iterator
from pathlib import Path

from opdlm.data.readers.records import Record, RowFields, csv_members

LETTERS = "ABCDEFGHIJ"
OPTION = re.compile(r"^[ \t]*(\()?([A-J])[.):][ \t]*", flags=re.MULTILINE)
GPQA_SEED = 0


def mmlu_tables(file: Path) -> Iterator[Record]:
    """The test tables of MMLU's archive, which have no header."""
    return csv_members(file, "_test.csv", ["question", "A", "B", "C", "D", "answer"])


def ceval_tables(file: Path) -> Iterator[Record]:
    """The validation tables of C-Eval's archive; the answers of its test tables are withheld."""
    return csv_members(file, "_val.csv")


def four_columns(record: Record) -> RowFields:
    """A row of MMLU or of C-Eval."""
    answer = record.text("answer")
    if None in record.fields or answer not in list("ABCD"):
        raise record.error("answer", "not a question, four options and a letter")
    options = [record.text(letter) for letter in "ABCD"]
    return _row(record.text("question"), options, answer, record.text("subject"))


def mmlu_pro(record: Record) -> RowFields:
    """A question of MMLU-Pro, with up to ten options."""
    options, answer = record.fields.get("options"), record.text("answer")
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise record.error("options", "missing, or not a list of texts")
    if not 2 <= len(options) <= len(LETTERS) or answer not in list(LETTERS[: len(options)]):
        raise record.error("answer", f"{answer!r} is not the letter of one of {len(options)} options")
    return _row(record.text("question"), options, answer, record.text("category"))


def gpqa(record: Record) -> RowFields:
    """A row of the table of GPQA. Its options are shuffled, for everybody alike, by the question alone."""
    question, right = record.text("Question").strip(), record.text("Correct Answer").strip()
    options = [right, *(record.text(f"Incorrect Answer {number}").strip() for number in (1, 2, 3))]
    order = list(range(4))
    random.Random(f"{GPQA_SEED}\n{question}").shuffle(order)
    subject = record.fields.get("High-level domain")
    return _row(question, [options[place] for place in order], LETTERS[order.index(0)], subject)


def _row(question: str, options: list[str], answer: str, subject: str | None) -> RowFields:
    lines = [f"{name}. {option}" for name, option in zip(LETTERS, options, strict=False)]
    return {
        "question": "\n".join([question, *lines]),
        "ground_truth_answer": answer,
        "domain": "science",
        "subdivision": subject,
        "options": len(options),
    }


def listed_options(question: str) -> list[re.Match[str]]:
    """The marks of the options that a question lists line by line as `A.`, `A)`, `A:` or `(A)`; the longest list."""
    longest: list[re.Match[str]] = []
    current: list[re.Match[str]] = []
    for mark in OPTION.finditer(question):
        if mark[2] == "A":
            current = [mark]
        elif current and mark[2] == LETTERS[len(current) : len(current) + 1]:
            current.append(mark)
        if len(current) >= max(2, len(longest)):
            longest = list(current)
    return longest


def with_plain_marks(question: str) -> str:
    """`(A) text` as `A. text` where a line is an option.

    The published evaluation rewrites every (A) to (J) of some sets, also within the question: `(E)-2-butene` becomes
    `E. -2-butene` (spec 8.2 D28). That is not reproduced.
    """
    for mark in reversed(listed_options(question)):
        if mark[1]:
            question = f"{question[: mark.start()]}{mark[2]}. {question[mark.end() :]}"
    return question

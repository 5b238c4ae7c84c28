"""IFEval: does an answer follow every instruction of its prompt, as a program can check it (arXiv 2311.07911).

The strict verdict on the whole prompt counts. The detail also gives what the loose one says, which forgives Markdown
stars, and a first or last line that introduces or closes the answer.
"""

from dataclasses import dataclass
from functools import cached_property

from pydantic import ValidationError

from opdlm.data.rows import Row
from opdlm.errors import DataError
from opdlm.evaluate.scorers import published
from opdlm.evaluate.scorers.ifeval.checks import CHECKS, Check
from opdlm.evaluate.scorers.ifeval.reader import Reader
from opdlm.evaluate.scorers.verdicts import unanswered, verdict
from opdlm.records import Sample
from opdlm.verdicts import Verdict


@dataclass(frozen=True)
class Instruction:
    """One instruction of a prompt."""

    name: str
    check: Check

    def followed(self, text: str, reader: Reader) -> bool:
        """Whether a text follows it; one without any words follows nothing."""
        return bool(text.strip()) and self.check.holds(text, reader)


@dataclass(frozen=True)
class Outcome:
    """Which instructions an answer follows."""

    text: str
    instructions: list[Instruction]
    reader: Reader

    @cached_property
    def strict(self) -> list[bool]:
        return [instruction.followed(self.text, self.reader) for instruction in self.instructions]

    @cached_property
    def loose(self) -> list[bool]:
        texts = _loose_texts(self.text)
        return [any(each.followed(text, self.reader) for text in texts) for each in self.instructions]

    def describe(self) -> str:
        """Instructions followed, strictly and loosely, and those that were not."""
        total = len(self.instructions)
        missed = [each.name for each, followed in zip(self.instructions, self.strict, strict=True) if not followed]
        counts = f"followed {sum(self.strict)}/{total} strict, {sum(self.loose)}/{total} loose"
        return f"{counts}; not {', '.join(missed)}" if missed else counts


def score(rows: list[Row], samples: list[Sample]) -> list[Verdict]:
    """Judge answers by the instructions of their rows.

    Raises:
        DataError: a row has no instructions, or one that is unknown or lacks an argument; or the sentence model that
            some checks need can be neither found nor downloaded.
    """
    reader = Reader()
    instructions = {index: read(rows[index], index) for index in sorted({sample.index for sample in samples})}
    return [_judged(sample, instructions[sample.index], reader) for sample in samples]


def _judged(sample: Sample, instructions: list[Instruction], reader: Reader) -> Verdict:
    counted = all(Outcome(published.seen(sample), instructions, reader).strict)
    if not sample.text.strip():
        return unanswered(sample, counted)
    outcome = Outcome(sample.text, instructions, reader)
    return verdict(sample, "correct" if all(outcome.strict) else "wrong", outcome.describe(), counted)


def read(row: Row, index: int) -> list[Instruction]:
    """The instructions of a row.

    Raises:
        DataError: there are none, or one is unknown or lacks an argument.
    """
    names, arguments = row.instruction_id_list, row.kwargs
    if not names or len(names) != len(arguments):
        raise DataError(f"row {index} has {len(names)} instructions with {len(arguments)} sets of arguments")
    return [_instruction(name, given, index) for name, given in zip(names, arguments, strict=True)]


def _instruction(name: str, arguments: dict[str, object], index: int) -> Instruction:
    if name not in CHECKS:
        raise DataError(f"row {index}: instruction {name!r} is unknown; known are {', '.join(CHECKS)}")
    given = {key: value for key, value in arguments.items() if value is not None}
    try:
        return Instruction(name, CHECKS[name].model_validate(given))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise DataError(f"row {index}: instruction {name}: {field}: {first['msg']}") from None


def _loose_texts(text: str) -> list[str]:
    """The text with and without its first line, its last line and all stars, in every combination."""
    lines = text.split("\n")
    parts = [text, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return [*parts, *(part.replace("*", "") for part in parts)]

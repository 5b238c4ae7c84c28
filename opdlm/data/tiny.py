"""The tiny family: three generated tasks that exercise every kind of scorer.

TinyMath chains additions, subtractions and multiplications modulo 10, left to right, with the steps written out and
the result in `\\boxed{}`. TinyChoice compares the value of a chain of two with another digit and wants a letter.
TinyCode asks for a small Python function, judged by running it. A question belongs to the test split or to the
training split by its hash, so the two never share one, whatever the seeds.
"""

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from opdlm.config.tasks import TinyTask
from opdlm.data.rows import Row
from opdlm.errors import DataError

Split = Literal["train", "test"]
TEST_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Example:
    """A question and the answer that the teacher is taught to write."""

    row: Row
    answer: str


def examples(tasks: list[TinyTask], split: Split, seed: int) -> Iterator[Example]:
    """An endless, seeded stream of examples of one split, the tasks in turn; questions may repeat."""
    rng = random.Random(f"{seed}/{split}")
    while True:
        for task in tasks:
            example = GENERATORS[task](rng)
            while question_split(example.row.question) != split:
                example = GENERATORS[task](rng)
            yield example


def rows(tasks: list[TinyTask], split: Split, count: int, seed: int) -> list[Row]:
    """`count` rows with distinct questions, the tasks in turn.

    Raises:
        DataError: the tasks do not hold that many distinct questions.
    """
    found: dict[str, Row] = {}
    newest = 0
    for number, example in enumerate(examples(tasks, split, seed)):
        if example.row.question not in found:
            found[example.row.question], newest = example.row, number
        if len(found) == count:
            return list(found.values())
        if number - newest > 100 + 10 * len(found):
            break
    raise DataError(f"{', '.join(tasks)}: found only {len(found)} distinct {split} questions of the {count} asked for")


def question_split(question: str) -> Split:
    """The split that a question belongs to, by its hash."""
    fraction = int.from_bytes(hashlib.sha256(question.encode()).digest()[:4]) / 2**32
    return "test" if fraction < TEST_SHARE else "train"


APPLY: dict[str, Callable[[int, int], int]] = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
}


def _math(rng: random.Random) -> Example:
    chain, steps, value = _chain(rng, rng.randint(2, 5))
    row = Row(question=f"Last digits: {chain}", ground_truth_answer=str(value), domain="math")
    return Example(row, f"{steps}\\boxed{{{value}}}")


def _choice(rng: random.Random) -> Example:
    chain, steps, value = _chain(rng, 2)
    other = rng.randrange(10)
    letter = "A" if value < other else "B" if value == other else "C"
    question = f"Last digits: {chain} against {other}\nA. less\nB. equal\nC. more"
    row = Row(question=question, ground_truth_answer=letter, domain="science", options=3)
    return Example(row, f'{steps}"answer": "{letter}"')


def _chain(rng: random.Random, length: int) -> tuple[str, str, int]:
    """A chain of operations modulo 10, its steps written out, and its value."""
    value = rng.randrange(10)
    chain, steps = str(value), ""
    for _ in range(length):
        sign, operand = rng.choice("+-*"), rng.randint(1, 5)
        result = APPLY[sign](value, operand) % 10
        chain += f"{sign}{operand}"
        steps += f"{value}{sign}{operand}={result};"
        value = result
    return chain, steps, value


WORDS = {"+": "add", "-": "subtract", "*": "multiply by"}


def _code(rng: random.Random) -> Example:
    steps = [(rng.choice("+-*"), rng.randint(1, 9)) for _ in range(rng.randint(2, 3))]
    words = ", ".join(f"{WORDS[sign]} {operand}" for sign, operand in steps)
    body = "".join(f"    x {sign}= {operand}\n" for sign, operand in steps)
    tests = [f"assert f({x}) == {_run(steps, x)}" for x in rng.sample(range(-20, 21), 4)]
    row = Row(question=f"Python f(x): {words}", domain="code", entry_point="f", test_list=tests)
    return Example(row, f"```python\ndef f(x):\n{body}    return x\n```")


def _run(steps: list[tuple[str, int]], value: int) -> int:
    for sign, operand in steps:
        value = APPLY[sign](value, operand)
    return value


GENERATORS: dict[TinyTask, Callable[[random.Random], Example]] = {
    "TinyMath": _math,
    "TinyChoice": _choice,
    "TinyCode": _code,
}

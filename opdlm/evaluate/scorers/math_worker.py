"""The worker process of the math scorer: pairs of expressions or of an expression and a text in, verdicts out, one JSON
line each."""

import json
import logging
import re
import resource
import sys
from typing import Any, Literal

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify
from sympy import Expr, simplify

MEMORY = 4 << 30
"""Bytes of address space; a runaway expression ends the worker, not the machine."""
NOTHING = "Can not extract the answer!"
"""What the published harness takes for the answer of a text that has none."""

Told = Literal["same", "different", "unread"]


def same(gold: str, answer: str, tolerance: float = 0.0) -> Told:
    """Whether `answer` equals `gold`, both the content of a box, or is a value within a tolerance of it.

    The result is `unread` if `gold` cannot be read.

    What math-verify parses is compared as it is: turning it into text and back loses answers.
    """
    wanted = parse(f"\\boxed{{{gold}}}", [LatexExtractionConfig()], parsing_timeout=None)
    if not wanted:
        return "unread"
    kinds = [LatexExtractionConfig(), ExprExtractionConfig()]
    given = parse(f"\\boxed{{{answer}}}", kinds, parsing_timeout=None)
    equal = verify(wanted, given, timeout_seconds=None) or (tolerance > 0 and _near(wanted, given, tolerance))
    return "same" if equal and not _of_other_bases(gold, answer) else "different"


def _of_other_bases(gold: str, answer: str) -> bool:
    """Whether both are numbers with bases, which math-verify overlooks, and these differ."""
    bases = [re.fullmatch(r"\(?[0-9A-Z]+\)?_\{?\(?(\d+)\)?\}?", each.strip()) for each in (gold, answer)]
    return len({base[1] if base else "" for base in bases}) == len(bases) and all(bases)


def published(gold: str, text: str) -> Told:
    """Whether the published harness counts a text as correct (spec 6.2): any exception and any time-out is a no.

    It reads the whole text and not the last box, and what it read goes through text before it is compared. The time
    limits are math-verify's own, as there.
    """
    found = parse(text, [ExprExtractionConfig(), LatexExtractionConfig()])
    answer = str(found[1] if len(found) > 1 else found[0]) if found else NOTHING
    pair = [parse(f"\\boxed{{{content}}}", [LatexExtractionConfig()]) for content in (gold, answer)]
    return "same" if verify(*pair) else "different"


def _near(wanted: list[Any], given: list[Any], tolerance: float) -> bool:
    """Whether any two readings are expressions whose difference is zero, or a number below the tolerance."""
    pairs = [
        (first, second) for first in wanted for second in given if isinstance(first, Expr) and isinstance(second, Expr)
    ]
    for first, second in pairs:
        difference = simplify(first - second)
        if difference == 0 or (difference.is_number and abs(complex(difference)) < tolerance):
            return True
    return False


def main() -> None:
    """Serve until standard input ends."""
    logging.disable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    print("ready", flush=True)
    for line in sys.stdin:
        kind, *given = json.loads(line)
        try:
            told = same(*given) if kind == "same" else published(*given)
        except (ArithmeticError, ValueError, TypeError, AttributeError, RecursionError, NotImplementedError):
            told = "different"  # sympy gives up on some nonsense with these
        except Exception:
            if kind == "same":
                raise
            told = "different"
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()

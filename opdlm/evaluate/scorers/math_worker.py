"""The worker process of the math scorer: pairs of expressions in, verdicts out, one JSON line each."""

import json
import logging
import resource
import sys
from typing import Any

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify
from sympy import Expr, simplify

MEMORY = 4 << 30
"""Bytes of address space; a runaway expression ends the worker, not the machine."""


def same(gold: str, answer: str, tolerance: float = 0.0) -> bool | None:
    """Whether `answer` equals `gold`, both the content of a box, or is a value within a tolerance of it.

    The result is none if `gold` cannot be read.

    What math-verify parses is compared as it is: turning it into text and back loses answers.
    """
    wanted = parse(f"\\boxed{{{gold}}}", [LatexExtractionConfig()], parsing_timeout=None)
    if not wanted:
        return None
    kinds = [LatexExtractionConfig(), ExprExtractionConfig()]
    given = parse(f"\\boxed{{{answer}}}", kinds, parsing_timeout=None)
    return bool(verify(wanted, given, timeout_seconds=None)) or (tolerance > 0 and _near(wanted, given, tolerance))


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
        gold, answer, tolerance = json.loads(line)
        try:
            result = same(gold, answer, tolerance)
        except (ArithmeticError, ValueError, TypeError, AttributeError, RecursionError, NotImplementedError):
            result = False  # sympy gives up on some nonsense with these
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()

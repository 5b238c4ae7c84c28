"""The worker process of the math scorer: pairs of expressions in, verdicts out, one JSON line each."""

import json
import logging
import resource
import sys

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

MEMORY = 4 << 30
"""Bytes of address space; a runaway expression ends the worker, not the machine."""


def same(gold: str, answer: str) -> bool | None:
    """Whether `answer` equals `gold`, both the content of a box; none if `gold` cannot be read.

    What math-verify parses is compared as it is: turning it into text and back loses answers.
    """
    wanted = parse(f"\\boxed{{{gold}}}", [LatexExtractionConfig()], parsing_timeout=None)
    if not wanted:
        return None
    kinds = [LatexExtractionConfig(), ExprExtractionConfig()]
    given = parse(f"\\boxed{{{answer}}}", kinds, parsing_timeout=None)
    return bool(verify(wanted, given, timeout_seconds=None))


def main() -> None:
    """Serve until standard input ends."""
    logging.disable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    print("ready", flush=True)
    for line in sys.stdin:
        gold, answer = json.loads(line)
        try:
            result = same(gold, answer)
        except (ArithmeticError, ValueError, TypeError, AttributeError, RecursionError, NotImplementedError):
            result = False  # sympy gives up on some nonsense with these
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()

"""Programs that read standard input and write standard output. Outputs are compared here, outside the sandbox."""

import ast
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal, InvalidOperation

from opdlm.data.rows import Comparison
from opdlm.evaluate.inside.plain import MAX_BYTES
from opdlm.evaluate.inside.roles import PRELUDE
from opdlm.evaluate.launcher import Launcher
from opdlm.evaluate.sandbox import Outcome, run_stdio
from opdlm.evaluate.scorers import published_code
from opdlm.evaluate.scorers.programs import UNREADABLE


def run_cases(
    launcher: Launcher, code: str, cases: list[tuple[str, str]], seconds: float, comparison: Comparison = "tokens"
) -> Outcome:
    """Judge a program by inputs and expected outputs, each in a sandbox of its own, up to the first that fails.

    What follows that one is run only as long as the published comparison holds.

    Args:
        cases: input and expected output of each test.
        seconds: wall time for each test, counted from when its sandbox is up.

    Raises:
        SandboxError: a sandbox could not be set up.
    """
    same, published = RULES[comparison]
    outcome, counted = Outcome("correct"), True
    for number, (given, expected) in enumerate(cases):
        longest = max(MAX_BYTES, 2 * len(expected.encode()))
        output = run_stdio(launcher, code, given.encode(), seconds, longest)
        if output.end != "ok":
            return Outcome(output.end, f"test {number}") if outcome.reason == "correct" else outcome
        text = output.stdout.decode(errors="replace")
        if outcome.reason == "correct" and not same(text, expected):
            outcome = Outcome("wrong", f"test {number}: {text[:100]!r} is not {expected[:100]!r}")
        counted = counted and published(text, expected)
        if outcome.reason != "correct" and not counted:
            return outcome
    return outcome if counted == (outcome.reason == "correct") else replace(outcome, published=counted)


EXITS = "import builtins, sys\ndef end(*_): raise SystemExit\nsys.exit = builtins.exit = builtins.quit = end\ndel end"
"""LiveCodeBench's grader does not look at the status with which a program exits."""


def as_livecodebench_runs(code: str, as_function: bool) -> str:
    """A program with what LiveCodeBench grants it: imported modules, deep recursion, any exit, a `return` anywhere.

    Its grader makes a function of each program. That breaks some (`global`, `max = max(a)`), so here only those become
    one that Python refuses otherwise.
    """
    return f"{EXITS}\n{PRELUDE}\n{_function(code) if as_function else code}"


def _function(code: str) -> str:
    function = ast.parse("def program(): pass\nprogram()")
    try:
        statements = ast.parse(code).body
        if statements and isinstance(function.body[0], ast.FunctionDef):
            function.body[0].body = statements
        return ast.unparse(function)
    except UNREADABLE:
        return code


def same_tokens(actual: str, expected: str) -> bool:
    """Whether two outputs have the same words, whatever white space is between them (Codeforces)."""
    return actual.split() == expected.split()


def same_lines(actual: str, expected: str) -> bool:
    """Whether two outputs are equal line by line, as texts or as decimals (LiveCodeBench since January 2025)."""
    actual_lines, expected_lines = _lines(actual), _lines(expected)
    if len(actual_lines) != len(expected_lines):
        return False
    return all(map(_same_line, actual_lines, expected_lines))


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().split("\n")]


def _same_line(actual: str, expected: str) -> bool:
    if actual == expected:
        return True
    try:
        return [Decimal(word) for word in actual.split()] == [Decimal(word) for word in expected.split()]
    except InvalidOperation:  # a word is no number, or a signalling NaN
        return False


RULES: dict[Comparison, tuple[Callable[[str, str], bool], Callable[[str, str], bool]]] = {
    "tokens": (same_tokens, same_tokens),
    "lines": (same_lines, published_code.same_output),
}
"""Our rule, and the published one."""

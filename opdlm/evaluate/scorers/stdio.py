"""Programs that read standard input and write standard output. Outputs are compared here, outside the sandbox."""

from decimal import Decimal, InvalidOperation

from opdlm.evaluate.inside.plain import MAX_BYTES
from opdlm.evaluate.launcher import Launcher
from opdlm.evaluate.sandbox import Outcome, run_stdio


def run_cases(launcher: Launcher, code: str, cases: list[tuple[str, str]], seconds: float) -> Outcome:
    """Judge a program by inputs and expected outputs, each in a sandbox of its own, up to the first that fails.

    Args:
        cases: input and expected output of each test.
        seconds: wall time for each test, counted from when its sandbox is up.

    Raises:
        SandboxError: a sandbox could not be set up.
    """
    for number, (given, expected) in enumerate(cases):
        longest = max(MAX_BYTES, 2 * len(expected.encode()))
        output = run_stdio(launcher, code, given.encode(), seconds, longest)
        if output.end != "ok":
            return Outcome(output.end, f"test {number}")
        text = output.stdout.decode(errors="replace")
        if not same_output(text, expected):
            return Outcome("wrong", f"test {number}: {text[:100]!r} is not {expected[:100]!r}")
    return Outcome("correct")


def same_output(actual: str, expected: str) -> bool:
    """Whether two outputs are equal by the rule of Codeforces, or by that of LiveCodeBench.

    A row does not say where it comes from. Both rules are lenient in what is no part of an answer: the first takes any
    white space for any other, the second 1.50 for 1.5.
    """
    return actual.split() == expected.split() or same_lines(actual, expected)


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

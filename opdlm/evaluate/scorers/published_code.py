"""The published harness's rules for programs, as far as a sandbox can tell (spec 3.3, 6.2 to 6.5, D20, D21).

What a program can do to a judge that runs in its own process (objects that equal everything, frames, patched
functions), time limits of a busy machine, and reads that mix `input()` with `sys.stdin` are not reproduced.
LiveCodeBench is taken as it is where its grader works, which as shipped it does not (D6): the paper's numbers are not
zero.
"""

import ast
import re

from opdlm.data.rows import Row
from opdlm.evaluate.sandbox import Outcome

PIPE = 1 << 16
"""Bytes of output that the runner of scripts can take."""
BYTES = r"std(?:in|out)\.buffer|\bopen\(\s*0\b|\bos\.read\("
"""Ways to read and write that its stand-ins for the standard streams do not have."""
EVALPLUS = ("HumanEval/", "Mbpp/")
RELATIVE, ABSOLUTE = 1e-5, 1e-8
"""NumPy's default tolerances."""


def program(row: Row, text: str, joined: str | None) -> str | None:
    """The program that the published harness takes out of an answer; none if it finds none.

    Args:
        joined: the block that defines the entry point, else all blocks (spec 6.2).
    """
    if _is_livecodebench(row):
        return between_last_fences(text)
    if joined and row.entry_point and (row.task_id or "").startswith(EVALPLUS):
        return without_silent_helpers(joined, row.entry_point)
    return joined


def _is_livecodebench(row: Row) -> bool:
    return row.test_method == "call" or (row.test_method == "stdio" and row.comparison == "lines")


def between_last_fences(text: str) -> str | None:
    """What stands between the last two lines that hold a fence."""
    lines = text.split("\n")
    fences = [number for number, line in enumerate(lines) if "```" in line]
    return "\n".join(lines[fences[-2] + 1 : fences[-1]]).strip("\n") if len(fences) > 1 else None


def without_silent_helpers(code: str, entry_point: str) -> str:
    """A program without the functions that have no `return`, which EvalPlus's sanitiser drops, generators too."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return code
    kept = [statement for statement in tree.body if not _is_silent(statement, entry_point)]
    return code if len(kept) == len(tree.body) else ast.unparse(ast.Module(kept, []))


def _is_silent(statement: ast.stmt, entry_point: str) -> bool:
    if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) or statement.name == entry_point:
        return False
    return not any(isinstance(node, ast.Return) for node in ast.walk(statement))


def cannot_pass(row: Row, code: str) -> bool:
    """Whether no output of a script is right: it needs streams of bytes, or has to write more than a pipe holds."""
    if row.test_method != "stdio":
        return False
    if _is_livecodebench(row):  # whose grader patches `open`, and reads outputs as they come
        return "stdin.buffer" in code
    return bool(re.search(BYTES, code)) or any(len(output.encode()) > PIPE for output in row.test_output)


def passes(row: Row, outcome: Outcome) -> bool:
    """Whether the published harness counts a program that came to `outcome`.

    Its runner of functions takes an exit for the end of all tests (D20); HumanEval and MBPP go to EvalPlus instead.
    """
    if row.test_method == "function" and not (row.task_id or "").startswith(EVALPLUS):
        return outcome.reason == "correct" or outcome.detail.startswith("SystemExit:")
    return outcome.reason == "correct" if outcome.published is None else outcome.published


def same_output(actual: str, expected: str) -> bool:
    """Whether LiveCodeBench's former grader takes an output for right: the same lines, or near numbers in all places,
    or lines of the same words, in any order and number."""
    given, wanted = _lines(actual), _lines(expected)
    return given == wanted or _near(actual, expected) or _sets(given) == _sets(wanted)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().split("\n")]


def _near(actual: str, expected: str) -> bool:
    try:
        given, wanted = ([float(word) for word in text.split()] for text in (actual, expected))
    except ValueError:
        return False
    pairs = zip(given, wanted, strict=False)
    return len(given) == len(wanted) and all(abs(one - two) <= ABSOLUTE + RELATIVE * abs(two) for one, two in pairs)


def _sets(lines: list[str]) -> set[frozenset[str]]:
    return {frozenset(line.split()) for line in lines}

"""Code: the program of an answer is judged by the row's tests, in sandboxes."""

import ast
import os
import re
from concurrent.futures import ThreadPoolExecutor

from opdlm.data.rows import Row
from opdlm.errors import DataError
from opdlm.evaluate.launcher import Launcher
from opdlm.evaluate.sandbox import run_tests
from opdlm.evaluate.scorers.verdicts import unanswered, verdict
from opdlm.records import Sample, Verdict

FENCE = re.compile(r"^[ \t]*```[ \t]*([\w+-]*)[^\n]*$", re.MULTILINE)


def score(rows: list[Row], samples: list[Sample]) -> list[Verdict]:
    """Judge answers by running them, as many at a time as there are processors.

    What ran out of time is run once more, alone, so that a busy machine does not cost a right program its verdict.

    Raises:
        DataError: a row has no tests, or tests that are not Python.
        SandboxError: there is no safe way to run programs here.
    """
    for index in sorted({sample.index for sample in samples}):
        _check_tests(rows[index], index)
    with Launcher() as launcher:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            verdicts = list(pool.map(lambda sample: _judged(launcher, rows[sample.index], sample), samples))
        return [
            _judged(launcher, rows[sample.index], sample) if verdict.reason == "timeout" else verdict
            for sample, verdict in zip(samples, verdicts, strict=True)
        ]


def _check_tests(row: Row, index: int) -> None:
    if not row.test_list:
        raise DataError(f"row {index} ({row.task_id or 'no task_id'}) has no tests; an answer cannot be judged")
    try:
        ast.parse("\n".join(row.test_list))
    except SyntaxError as error:
        raise DataError(f"row {index} ({row.task_id or 'no task_id'}): a test is not Python: {error}") from None


def _judged(launcher: Launcher, row: Row, sample: Sample) -> Verdict:
    code = extract(sample.text, row.entry_point)
    if code is None:
        return unanswered(sample)
    outcome = run_tests(launcher, code, row.test_list, row.entry_point, row.test_time_limit)
    if outcome.reason == "syntax_error" and sample.finish == "length":
        return verdict(sample, "truncated", outcome.detail)
    return verdict(sample, outcome.reason, outcome.detail)


def extract(text: str, entry_point: str | None) -> str | None:
    """The program in an answer, or none.

    It is the first block that defines the entry point, else all Python blocks, else all blocks. A text that goes on
    from a fence opened by the prompt (spec 6.3) starts with a block that only ends.
    """
    blocks = _blocks(text, entry_point)
    if entry_point:
        for _, block in blocks:
            if _defines(block, entry_point):
                return block
    python = [block for language, block in blocks if language in ("python", "python3", "py")]
    return "\n\n".join(python or [block for _, block in blocks]) or None


def _blocks(text: str, entry_point: str | None) -> list[tuple[str, str]]:
    """Language and content of each fenced block; a block that is never closed goes to the end of the text."""
    fences = list(FENCE.finditer(text))
    head = text[: fences[0].start()] if fences else text
    inside = not (fences and fences[0][1]) and _is_code(head, entry_point)
    blocks, language, position = [], "python", 0
    for fence in [*fences, None]:
        if inside:
            blocks.append((language, text[position : fence.start() if fence else len(text)].strip("\n")))
        if fence:
            language, position = fence[1].lower(), fence.end()
            inside = not inside or bool(language)  # a fence with a language never closes
    return [(language, block) for language, block in blocks if block.strip()]


def _defines(block: str, entry_point: str) -> bool:
    name = re.escape(entry_point)
    return bool(re.search(rf"^(?:(?:async )?(?:def|class) +{name}\b|{name} *=)", block, re.MULTILINE))


def _is_code(text: str, entry_point: str | None) -> bool:
    """Whether text without a fence is a program: it defines the entry point, or at least a function, in Python."""
    if entry_point and _defines(text, entry_point):
        return True
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Import) for node in tree.body)

"""Code: the program of an answer is judged by the row's tests, in sandboxes."""

import ast
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed

from opdlm.data.rows import Row
from opdlm.errors import DataError
from opdlm.evaluate.inside.judging import arguments
from opdlm.evaluate.inside.plain import MAX_BYTES
from opdlm.evaluate.launcher import Launcher
from opdlm.evaluate.sandbox import Outcome, run_calls, run_tests
from opdlm.evaluate.scorers import published_code
from opdlm.evaluate.scorers.programs import extract, program
from opdlm.evaluate.scorers.stdio import as_livecodebench_runs, run_cases
from opdlm.evaluate.scorers.verdicts import unanswered, verdict
from opdlm.records import Sample
from opdlm.verdicts import Verdict

PLUS = "plus: {}"
"""How the detail of a verdict begins if its row has further tests, which count only if the tests proper hold."""


def score(
    rows: list[Row], samples: list[Sample], keep: Callable[[Verdict], None] | None = None, unsafe: bool = False
) -> list[Verdict]:
    """Judge answers by running them, as many at a time as there are processors.

    What ran out of time is run once more, alone, so that a busy machine does not cost a right program its verdict.

    Args:
        keep: is given each verdict as soon as it is final.
        unsafe: run programs without a sandbox where there is no safe way.

    Raises:
        DataError: a row has no tests, or tests that cannot be used.
        SandboxError: there is no safe way to run programs here, and `unsafe` does not permit another.
    """
    for index in sorted({sample.index for sample in samples}):
        _check_tests(rows[index], f"row {index} ({rows[index].task_id or 'no task_id'})")
    verdicts: dict[int, Verdict] = {}
    with Launcher(unsafe) as launcher:

        def judge(place: int) -> Verdict:
            return _judged(launcher, rows[samples[place].index], samples[place])

        def settle(place: int, final: Verdict) -> None:
            verdicts[place] = final
            if keep:
                keep(final)

        late = []
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            waiting = {pool.submit(judge, place): place for place in range(len(samples))}
            try:
                for done in as_completed(waiting):
                    if _out_of_time(done.result()):
                        late.append(waiting[done])
                    else:
                        settle(waiting[done], done.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        for place in sorted(late):
            settle(place, judge(place))
    return [verdicts[place] for place in range(len(samples))]


def _out_of_time(judged: Verdict) -> bool:
    return judged.reason == "timeout" or judged.detail.startswith(PLUS.format("failed; timeout"))


def _check_tests(row: Row, place: str) -> None:
    """Refuse what could only be judged by mistake.

    Raises:
        DataError: the row has no tests, or tests that cannot be used.
    """
    if not (row.test_list if row.test_method == "function" else row.test_input):
        raise DataError(f"{place} has no tests; an answer cannot be judged")
    if row.test_method != "function" and len(row.test_input) != len(row.test_output):
        raise DataError(f"{place} has {len(row.test_input)} test_input but {len(row.test_output)} test_output")
    if row.test_method == "call" and not row.entry_point:
        raise DataError(f"{place} has no entry_point to call")
    try:
        ast.parse("\n".join([*row.test_list, *row.plus_test_list]))
    except SyntaxError as error:
        raise DataError(f"{place}: a test is not Python: {error}") from None
    for given, expected in _calls(row):
        try:
            size = len(json.dumps([arguments(given), json.loads(expected)]))
        except ValueError as error:
            raise DataError(f"{place}: arguments or result of a test are not JSON: {error}") from None
        if size > MAX_BYTES // 2:  # a message needs more bytes than the arguments
            raise DataError(f"{place}: arguments and result of a test take more than {MAX_BYTES // 2} bytes")


def _calls(row: Row) -> list[tuple[str, str]]:
    return list(zip(row.test_input, row.test_output, strict=True)) if row.test_method == "call" else []


def _judged(launcher: Launcher, row: Row, sample: Sample) -> Verdict:
    code = program(row, sample.text)
    outcome = None if code is None else _outcome(launcher, row, code)
    published = _published(launcher, row, sample.text, code, outcome)
    if code is None or outcome is None:
        return unanswered(sample, published)
    if _is_livecodebench_script(row) and outcome.reason in ("runtime_error", "syntax_error"):
        outcome = _outcome(launcher, row, as_livecodebench_runs(code, outcome.reason == "syntax_error"))
    if row.plus_test_list:
        outcome = _with_plus(launcher, row, code, outcome)
    if outcome.reason == "syntax_error" and sample.finish == "length":
        return verdict(sample, "truncated", outcome.detail, published)
    return verdict(sample, outcome.reason, outcome.detail, published)


def _published(launcher: Launcher, row: Row, text: str, code: str | None, outcome: Outcome | None) -> bool:
    """Whether the published harness counts an answer in which we found `code`, which came to `outcome`.

    Where it finds another program, that is run as well. Programs of LiveBench are judged by LiveBench's own rule.
    """
    if row.livebench_task:
        return outcome is not None and outcome.reason == "correct"
    theirs = published_code.program(row, text, extract(text, row.entry_point))
    if theirs is None or published_code.cannot_pass(row, theirs):
        return False
    if outcome is None or theirs != code:
        outcome = _outcome(launcher, row, theirs)
    return published_code.passes(row, outcome)


def _outcome(launcher: Launcher, row: Row, code: str) -> Outcome:
    if row.test_method == "stdio":
        cases = list(zip(row.test_input, row.test_output, strict=True))
        return run_cases(launcher, code, cases, row.test_time_limit, row.comparison)
    if row.test_method == "call":
        return run_calls(launcher, code, _calls(row), row.entry_point or "", row.test_time_limit)
    return run_tests(launcher, code, row.test_list, row.entry_point, row.test_time_limit)


def _is_livecodebench_script(row: Row) -> bool:
    return row.test_method == "stdio" and row.comparison == "lines" and not row.livebench_task


def _with_plus(launcher: Launcher, row: Row, code: str, base: Outcome) -> Outcome:
    """The outcome of the tests proper, with that of the further tests in its detail."""
    if base.reason != "correct":
        return Outcome(base.reason, f"{PLUS.format('failed')}; {base.detail}")
    plus = run_tests(launcher, code, row.plus_test_list, row.entry_point, row.test_time_limit)
    if plus.reason == "correct":
        return Outcome("correct", PLUS.format("passed"))
    return Outcome("correct", f"{PLUS.format('failed')}; {plus.reason}, {plus.detail}")

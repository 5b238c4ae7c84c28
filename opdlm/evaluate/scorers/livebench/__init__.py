"""LiveBench: each task by its own rule, with partial credit (arXiv 2406.19314).

The rules are those of github.com/LiveBench/LiveBench, livebench/process_results since the release of 2025-04-25, which
also judge older rows. The score is the task's partial credit; `correct` says whether it is above one half, the boolean
that the published evaluation counts.
"""

import ast
import json
from collections.abc import Callable
from typing import Any

from opdlm.data.rows import Row
from opdlm.errors import DataError
from opdlm.evaluate.scorers import code, ifeval
from opdlm.evaluate.scorers.livebench import language, mathematics, reasoning, tables
from opdlm.evaluate.scorers.math import Comparer
from opdlm.evaluate.scorers.programs import extract
from opdlm.evaluate.scorers.verdicts import graded, unanswered
from opdlm.records import Sample
from opdlm.verdicts import Verdict

CODING = ("LCB_generation", "coding_completion")
INSTRUCTIONS = ("paraphrase", "simplify", "story_generation", "summarize")
Grader = Callable[[Row, str, str], float | None]
"""The score of a text for a row with a ground truth; none where the text has no answer."""

GRADERS: dict[str, Grader] = {
    "zebra_puzzle": lambda row, gold, text: reasoning.zebra_puzzle(gold, text, row.livebench_release_date or ""),
    "web_of_lies_v2": lambda row, gold, text: reasoning.web_of_lies(gold, text),
    "spatial": lambda row, gold, text: reasoning.spatial(gold, text),
    "math_comp": lambda row, gold, text: mathematics.math_comp(gold, text, row.question),
    "olympiad": lambda row, gold, text: mathematics.olympiad(gold, text),
    "cta": lambda row, gold, text: tables.column_type(gold, text),
    "tablejoin": lambda row, gold, text: tables.table_join(ast.literal_eval(gold), text),
    "tablereformat": lambda row, gold, text: tables.table_reformat(gold, text, row.question),
    "connections": lambda row, gold, text: language.connections(gold, text, row.livebench_release_date or ""),
    "plot_unscrambling": lambda row, gold, text: language.plot_unscrambling(gold, text),
    "typos": lambda row, gold, text: language.typos(gold, text),
}
AMPS = "AMPS_Hard"
DATED = ("zebra_puzzle", "connections")
"""Tasks whose rule depends on the release."""
TASKS = (*GRADERS, AMPS, *INSTRUCTIONS, *CODING)


def score(
    rows: list[Row], samples: list[Sample], keep: Callable[[Verdict], None] | None = None, unsafe: bool = False
) -> list[Verdict]:
    """Judge answers, each by the rule of its row's task.

    Args:
        keep: is given each verdict as soon as it is final.
        unsafe: run programs without a sandbox where there is no safe way.

    Raises:
        DataError: a row's task is unknown, or the row lacks what its task needs.
        SandboxError: there are coding tasks, no safe way to run programs here, and `unsafe` does not permit another.
    """
    for index in sorted({sample.index for sample in samples}):
        _check(rows[index], index)
    coding = [sample for sample in samples if rows[sample.index].livebench_task in CODING]
    completed = [_completed(rows[sample.index], sample) for sample in coding]
    programs = iter(code.score(rows, completed, keep, unsafe) if coding else [])
    verdicts, reader = [], ifeval.Reader()
    with Comparer() as comparer:
        for sample in samples:
            if rows[sample.index].livebench_task in CODING:
                verdicts.append(next(programs))
                continue
            verdicts.append(_judged(rows[sample.index], sample, reader, comparer))
            if keep:
                keep(verdicts[-1])
    return verdicts


def _check(row: Row, index: int) -> None:
    task = row.livebench_task
    if task not in TASKS:
        raise DataError(f"row {index}: LiveBench task {task!r} is unknown; known are {', '.join(TASKS)}")
    if task in INSTRUCTIONS:
        ifeval.read(row, index)
    elif task in CODING:
        if not row.test_list and not row.test_output:
            raise DataError(f"row {index} ({task}) has no tests; an answer cannot be judged")
    elif not _gold(row):
        raise DataError(f"row {index} ({task}) has no ground truth")
    if task in DATED and not row.livebench_release_date:
        raise DataError(f"row {index} ({task}) has no release date, by which its rule is chosen")


def _gold(row: Row) -> str:
    value: Any = row.livebench.get("ground_truth") or row.ground_truth_answer
    if isinstance(value, list):  # some AMPS rows list equal forms, of which the official program takes the last
        value = value[-1]
    return value if isinstance(value, str) else json.dumps(value)


def _judged(row: Row, sample: Sample, reader: ifeval.Reader, comparer: Comparer) -> Verdict:
    if not sample.text.strip():
        return unanswered(sample)
    if row.livebench_task in INSTRUCTIONS:
        outcome = ifeval.Outcome(sample.text.strip(), ifeval.read(row, sample.index), reader)
        followed = sum(outcome.strict) / len(outcome.strict)
        return graded(sample, (all(outcome.strict) + followed) / 2, outcome.describe())
    share = _share(row, sample, comparer)
    return unanswered(sample) if share is None else graded(sample, share, f"{row.livebench_task}: {share:.3f}")


def _share(row: Row, sample: Sample, comparer: Comparer) -> float | None:
    task, gold = row.livebench_task or "", _gold(row)
    try:
        if task == AMPS:
            return mathematics.amps_hard(gold, sample.text, comparer)
        return GRADERS[task](row, gold, sample.text)
    except (ValueError, SyntaxError, ZeroDivisionError) as error:
        # Graders do not fail on an answer, only on a row.
        raise DataError(f"row {sample.index} ({task}) is damaged: {error}") from error


def _completed(row: Row, sample: Sample) -> Sample:
    """The sample with the beginning of a program that the question gives, if its answer leaves that out."""
    start = row.livebench.get("partial_solution")
    program = extract(sample.text, row.entry_point, last=row.test_method != "function")
    if not start or program is None or program.startswith(start):
        return sample
    return sample.model_copy(update={"text": f"```python\n{start}\n{program}\n```"})

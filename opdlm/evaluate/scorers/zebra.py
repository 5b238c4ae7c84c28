"""ZebraLogic: every cell of the grid that an answer gives in JSON must be right (arXiv 2502.01100, WildEval/ZeroEval).

The last complete JSON object with a "solution" is the answer, so that a corrected second attempt counts and a draft or
braces in prose do not. Cells are compared without case and outer spaces. The score is 1 for a whole grid, else 0; the
detail gives the share of right cells.
"""

import json
from typing import Any

from opdlm.data.rows import Row
from opdlm.errors import DataError
from opdlm.evaluate.scorers import published
from opdlm.evaluate.scorers.published import Grid
from opdlm.evaluate.scorers.verdicts import unanswered, verdict
from opdlm.records import Sample
from opdlm.verdicts import Reason, Verdict


def score(rows: list[Row], samples: list[Sample]) -> list[Verdict]:
    """Judge answers by their grid.

    Raises:
        DataError: a row's own solution is not a grid.
    """
    golds = {index: read_gold(rows[index].ground_truth_answer, index) for index in {each.index for each in samples}}
    return [_judged(golds[sample.index], sample) for sample in samples]


def _judged(gold: Grid, sample: Sample) -> Verdict:
    counted = published.grid_is_right(sample.text, gold)
    answer = last_solution(sample.text)
    if answer is None:
        return unanswered(sample, counted)
    right = sum(answer.get(place) == cell for place, cell in gold.items())
    reason: Reason = "correct" if right == len(gold) else "wrong"
    return verdict(sample, reason, f"{right} of {len(gold)} cells right", counted)


def read_gold(text: str, index: int) -> Grid:
    """The grid of a row's answer: a table with "header" and "rows" as the authors publish it, or houses by name.

    Raises:
        DataError: it is neither.
    """
    try:
        value = json.loads(text)
        value = value.get("solution", value)
        if "header" in value:
            _, *names = value["header"]
            value = {
                f"House {number}": dict(zip(names, cells[1:], strict=True))
                for number, cells in enumerate(value["rows"], start=1)
            }
        grid = _grid(value)
    except (ValueError, KeyError, TypeError, AttributeError):
        grid = {}
    if not grid:
        raise DataError(f"row {index}: the solution is not a grid of houses in JSON: {text[:80]!r}")
    return grid


def last_solution(text: str) -> Grid | None:
    """The grid in the last complete JSON object that has a "solution", or none."""
    decoder = json.JSONDecoder(strict=False)  # reasoning holds bare line breaks
    found, position = None, text.find("{")
    while position != -1:
        try:
            value, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            end = position + 1
        else:
            if isinstance(value.get("solution"), dict):
                found = _grid(value["solution"])
            else:  # it may lie deeper, as in {"answer": {"solution": ...}}
                end = position + 1
        position = text.find("{", end)
    return found


def _grid(houses: dict[str, Any]) -> Grid:
    return {
        (published.plain(house), published.plain(name)): _cell(cell)
        for house, cells in houses.items()
        if isinstance(cells, dict)
        for name, cell in cells.items()
    }


def _cell(value: Any) -> str:
    """A cell as text; of several values, which some answers list, the first."""
    if isinstance(value, list):
        value = value[0] if value else ""
    return str(value).lower().strip()

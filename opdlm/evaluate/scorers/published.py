"""The published harness's own rules, faults included, where they differ from ours: its numbers are the paper's.

They only fill `Verdict.published`, out of which a merged result's `published_accuracy` is made; tables print ours. For
programs see `published_code.py`, for mathematics `math_worker.py`. The rules are those of spec 6.2; what it leaves open
is said where it is decided.
"""

import json
import re
from typing import Any

from opdlm.data.rows import Row
from opdlm.records import Sample

END = "<|im_end|>"
LETTERS = "ABCDEFGHIJ"

Grid = dict[tuple[str, str], str]
"""The cell of each house and attribute."""


def seen(sample: Sample) -> str:
    """The text that the published harness scored.

    It left the end token in the answers of block diffusion (spec 3.3.1, D19) and not in those of vLLM, which are
    the ones that come one token a step from left to right. (A short answer of block diffusion can come so by chance.)
    """
    autoregressive = sample.steps != [] and sample.steps == list(range(1, len(sample.steps) + 1))
    return sample.text if autoregressive or sample.finish == "length" else sample.text + END


def letters(rows: list[Row]) -> str:
    """The letters that count for the rows of a benchmark.

    They were bounded by the options for MMLU, MMLU-Pro and GPQA only. Rows do not name their benchmark; the other sets
    are those in which most questions have letters beyond ASCII.
    """
    foreign = sum(any(sign.isalpha() and not sign.isascii() for sign in row.question) for row in rows)
    most = max((row.options for row in rows), default=0)
    return LETTERS[:most] if most and 2 * foreign <= len(rows) else LETTERS


def letter(text: str, letters: str) -> str | None:
    """The letter of an answer: the last match of the first way that matches. What "..." skips is of one sentence."""
    any_case = f"([{letters}{letters.lower()}])"
    ways = (
        rf"\\boxed\{{(?:\s*\\text\w*\{{)?\s*{any_case}",
        rf"(?i:answer)[*\"')\]\s]*[:=][\s\"'$(*]*{any_case}",
        rf"(?i:answer)[^.\n]{{0,200}}?\b(?i:is)\b[\s:*\"'$(]*(?:(?i:option|choice|letter)[\s:*\"'$(]*)?\b{any_case}\b",
        rf"\b([{letters}])\b",
    )
    for way in ways:
        found = re.findall(way, text.strip())
        if found:
            return str(found[-1]).upper()
    return None


def grid_is_right(text: str, gold: Grid) -> bool:
    """Whether every cell of ZebraLogic's solution stands in the first fenced JSON, or without a fence in the outermost
    braces."""
    fence = re.search(r"```(?:json)?(.*?)```", text, re.DOTALL)
    found = fence[1] if fence else text[text.find("{") : text.rfind("}") + 1]
    try:
        houses = _houses(json.loads(found))
    except (ValueError, RecursionError):
        return False
    return all(_cell(houses, house, name) == cell for (house, name), cell in gold.items())


def _houses(value: Any) -> dict[str, Any]:
    """Houses by name: in the object `solution`, in the object itself, or in a list."""
    if isinstance(value, dict) and isinstance(value.get("solution"), dict | list):
        value = value["solution"]
    if isinstance(value, list):
        return {f"House {number}": house for number, house in enumerate(value, start=1)}
    return value if isinstance(value, dict) else {}


def _cell(houses: dict[str, Any], house: str, name: str) -> str | None:
    cells = _named(houses, house)
    value = _named(cells, name) if isinstance(cells, dict) else None
    return None if value is None else str(value).strip().lower()


def _named(values: dict[str, Any], name: str) -> Any:
    """The value of a plain name; if there is none, of the first that holds it or is held by it."""
    known = {plain(key): value for key, value in values.items()}
    if name in known:
        return known[name]
    return next((value for key, value in known.items() if key and (key in name or name in key)), None)


def plain(name: str) -> str:
    """A name as letters and digits without case."""
    return "".join(sign for sign in name.casefold() if sign.isalnum())

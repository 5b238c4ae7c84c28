"""How LiveBench finds an answer in a text: between tags, in a box, in bold. Quirks are its own (process_results)."""

import re
from collections.abc import Sequence
from typing import Any

BOX = "\\boxed"


def tagged(text: str, lines: bool = False) -> list[str]:
    """What stands between solution tags: within a line, or with `lines` across several."""
    closed = "".join(text.rpartition("</solution>")[:2])  # of a thousand opening tags none is searched in vain
    return re.findall(r"<solution>(.*?)</solution>", closed, re.DOTALL if lines else 0)


def tagged_anyhow(text: str) -> list[str]:
    """The same within a line, also if the first tag is a closing one, as some models write it."""
    return tagged(text) or re.findall(r"</solution>(.*?)</solution>", text)


def boxed(text: str) -> str | None:
    """What stands in the last box, or none; without any box, in the last frame.

    A box without braces, `\\boxed 5$`, goes before all others and ends at the next dollar sign.
    """
    if f"{BOX} " in text:
        return text.rpartition(f"{BOX} ")[2].split("$")[0]
    start = text.rfind(BOX)
    command = BOX if start >= 0 else "\\fbox"
    start = text.rfind(command)
    end = _closing(text, start) if start >= 0 else None
    if end is None or not text.startswith("{", start + len(command)):
        return None
    return text[start + len(command) + 1 : end].replace("$", "")


def _closing(text: str, start: int) -> int | None:
    """Where the braces that open after `start` are all closed."""
    depth = 0
    for match in re.compile(r"[{}]").finditer(text, start):
        depth += 1 if match[0] == "{" else -1
        if depth == 0:
            return match.start()
    return None


def plain(latex: str) -> str:
    """The content of a box without `\\text{...}`, closing braces and backslashes."""
    return latex.replace("\\text{", "").replace("}", "").replace("\\", "")


def bold(text: str) -> list[str]:
    """What stands between double stars, within a line."""
    return re.findall(r"\*\*(.*?)\*\*", text)


def edit_distance(first: Sequence[Any], second: Sequence[Any]) -> int:
    """Number of insertions, deletions and replacements that turn one sequence into the other (Levenshtein)."""
    row = list(range(len(second) + 1))
    for i, left in enumerate(first, start=1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(second, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]

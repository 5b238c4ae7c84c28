"""LiveBench's reasoning tasks. Graders give a share from 0 to 1, or none where no answer was found."""

import re
from itertools import product

from opdlm.evaluate.scorers.livebench.extraction import bold, boxed, plain, tagged_anyhow

NEW_FORMAT = "2024-11-25"
"""Release from which on answers stand between solution tags."""
NUMBER_WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
]
NUMBERS = {word: str(number) for number, word in enumerate(NUMBER_WORDS)}
SHAPES = ("tetrahedra", "tetrahedron", "triangle", "square")
TRUTH = ("yes", "no", "unknown")


def zebra_puzzle(gold: str, text: str, release: str) -> float | None:
    """Answers about a zebra puzzle, by the release's format (reasoning/zebra_puzzle)."""
    return _zebra_word(gold, text) if release < NEW_FORMAT else _zebra_list(gold, text)


def _zebra_word(gold: str, text: str) -> float | None:
    """One word, in `***bold italics***` or the last of the text; digits may stand for numbers up to nine."""
    words = re.findall(r"\*\*\*(\w+)\*\*\*", text) or re.findall(r"\b\w+\b", text)
    if not words:
        return None
    word, gold = words[-1].lower(), gold.lower()
    spelled = next((name for name, digit in NUMBERS.items() if digit == word and digit in "123456789"), None)
    return float(gold in (word, spelled, f"{word} movies"))


def _zebra_list(gold: str, text: str) -> float | None:
    """Several words: the mean of the share that is right and of whether all are."""
    wanted = gold.split(",")
    found = tagged_anyhow(text)
    if not found:
        box = boxed(text)
        last_line = text.strip().split("\n")[-1]
        if box is not None:
            found = [plain(box)]
        elif last_line.count(",") == len(wanted) - 1:
            found = [last_line]
    if not found:
        return None
    words = [word for match in found for word in match.split(",")]
    if len(found) > 1:
        words = words[-len(wanted) :]
    right = sum(_same_word(want, word) for want, word in zip(wanted, words, strict=False))
    return ((right == len(wanted)) + right / len(wanted)) / 2


def _same_word(wanted: str, given: str) -> bool:
    wanted, given = (word.strip().lower().replace("-", " ") for word in (wanted, given))
    return wanted in given.replace("position", "")


def web_of_lies(gold: str, text: str) -> float | None:
    """Three times yes, no or unknown, in order (reasoning/web_of_lies_v2)."""
    found = next(iter(tagged_anyhow(text)[-1:]), None)
    if found is None:
        found = _bold_truths(text)
    if found is None or not found.strip():
        box = boxed(text.replace("\\textbf{", "\\boxed{"))
        found = found if box is None else box
    if found is None:
        found = _plain_truths(text)
    if not found:
        return None
    three = sum(found.count(word) for word in TRUTH) == 3
    return float(found == gold.lower() or (three and gold.lower() in found))


def _bold_truths(text: str) -> str | None:
    words = [word.lower().replace(",", "").replace(".", "") for match in bold(text) for word in match.split()]
    return ", ".join([word for word in words if word in TRUTH][-3:]) or None


def _plain_truths(text: str) -> str | None:
    """Of all triples in the text, each taken where it first stands, the last one."""
    text = text.lower()
    triples = [", ".join(words) for words in product(TRUTH, repeat=3)]
    place, triple = max((text.find(triple), triple) for triple in triples)
    return triple if place >= 0 else None


def spatial(gold: str, text: str) -> float | None:
    """A number or shape in one of the last three bold words, in a box, or as the whole text (reasoning/spatial)."""
    words = [word.strip().lower() for word in re.findall(r"\*\*([^*]+)\*\*", text)[-3:]]
    box = boxed(text)
    if text == gold or (box is not None and re.sub(r"\\(?:textbf|mathbf|text)\{|\}", "", box) == gold):
        return 1.0
    if not words and box is None:
        return None
    wanted = gold.strip().lower()
    return float(any(_same_shape(wanted, word) for word in words))


def _same_shape(wanted: str, word: str) -> bool:
    """Equal, a number spelled out, or a shape with little around it: "equilateral triangle" is a triangle."""
    if wanted in (word, NUMBERS.get(word)):
        return True
    return wanted in SHAPES and wanted in word and len(word) < 2 * len(wanted) + 5

"""LiveBench's mathematics. Graders give a share from 0 to 1, or none where no answer was found."""

import re

from opdlm.evaluate.scorers.livebench.extraction import boxed, edit_distance, plain, tagged
from opdlm.evaluate.scorers.math import Comparer

LETTERS = "ABCDE"
TOLERANCE = 1e-3
"""How far apart two values of AMPS_Hard may lie."""
NO_NUMBER = -1
"""Stands for a part of a list that is not a number, so that the others keep their places."""


def math_comp(gold: str, text: str, question: str) -> float:
    """AMC and SMC, whose answer is a letter, or AIME, whose answer is three digits (math/math_competitions)."""
    if gold in list(LETTERS):
        return float(_amc(gold, text, question))
    return float(gold in text[-50:])


def _amc(letter: str, text: str, question: str) -> bool:
    """The letter in tags or a box or four times in a row, or the value of the option at the very end."""
    tags = tagged(text)
    if letter * 4 in text or (tags and set(tags[-1]) in ({letter}, {letter.lower()})):
        return True
    box = boxed(text)
    if box and plain(box).lower() == letter.lower():
        return True
    value = _option(question, letter)
    return bool(value) and value in text[-20 - len(value) :]


def _option(question: str, letter: str) -> str:
    """What the question gives for a letter, if anything, as in `\\textbf{(A)} 5 \\qquad`."""
    options = re.findall(r"\\textbf{\(([A-E])\)\s?}(.*?)(?:\\qquad|\$)", question)
    return str(dict(options).get(letter, "")).strip().strip("$").strip("~")


def olympiad(gold: str, text: str) -> float | None:
    """The order of masked formulae, by edit distance as LiveBench's main program asks for (math/olympiad)."""
    wanted = [int(number) for number in gold.split(",")]
    given = _after_answer(text) or _in_box(text) or _last_line(text) or _last_list(text)
    if not given:
        return None
    return 1 - edit_distance(given, wanted) / max(len(given), len(wanted))


def _numbers(parts: list[str]) -> list[int]:
    """The parts as numbers, or nothing if none of them is one."""
    numbers = [number if (number := _integer(part)) is not None else NO_NUMBER for part in parts]
    return numbers if any(number != NO_NUMBER for number in numbers) else []


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _after_answer(text: str) -> list[int]:
    """The list on the last line with "answer:", or on the line below it."""
    lines = text.lower().strip().split("\n")
    places = [index for index, line in enumerate(lines) if "answer:" in line]
    if not places:
        return []
    found = _bare(lines[places[-1]].split("answer:")[1])
    if not found and places[-1] + 1 < len(lines):
        found = _bare(lines[places[-1] + 1].replace("answer:", ""))
    return _numbers([re.sub(r"[${}\\<>]|boxed", "", part.strip().split(" ")[-1]) for part in found.split(",")])


def _bare(text: str) -> str:
    return text.replace("**", "").replace(".", "").strip()


def _in_box(text: str) -> list[int]:
    if "\\boxed" not in text:
        return []
    box = boxed(text)
    return _numbers(plain(text if box is None else box).strip().split(","))


def _last_line(text: str) -> list[int]:
    parts = [_first_digits(part) for part in text.strip().lower().split("\n")[-1].split(",")]
    return _numbers([part for part in parts if part])


def _last_list(text: str) -> list[int]:
    """The list after the last "answer:", or at the start of the text, up to the first number with something around."""
    numbers = []
    for index, part in enumerate(text.lower().rpartition("answer:")[2].split(",")):
        digits = _first_digits(part.strip())
        number = _integer(digits)
        if number is not None:
            numbers.append(number)
        if index > 0 and digits != part.strip():
            break
    return numbers


def _first_digits(text: str) -> str:
    match = re.search(r"\d+", text)
    return match[0] if match else ""


def amps_hard(gold: str, text: str, comparer: Comparer) -> float | None:
    """An expression in the last box, or in the last dollar signs, up to a constant of integration (math/AMPS_Hard).

    The comparison is math-verify's, with LiveBench's tolerance. Its own parser is the one of sympy with lark, which
    cannot be installed beside math-verify's.
    """
    text = re.sub(r"\+ ?[cC]", "", text).replace("\n", "").replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    answer = boxed(text)
    if answer is None:
        answer = _in_dollars(text)
    if answer is None:
        return float(text.removesuffix(".").endswith(gold)) if text else None
    answer = answer.split("=")[-1]
    return float(comparer.same(gold, answer, TOLERANCE) is True)


def _in_dollars(text: str) -> str | None:
    found = re.findall(r"\$\$(.+?)\$\$|\$([^$]+)\$", text)
    if not found:
        return None
    return "".join(found[-1]).split("\\quad \\text{or} \\quad")[-1]

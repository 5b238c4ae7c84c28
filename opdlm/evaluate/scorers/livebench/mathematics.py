"""LiveBench's mathematics. Graders give a share from 0 to 1, or none where no answer was found."""

import re

from opdlm.evaluate.scorers.livebench.extraction import boxed, edit_distance, plain, tagged
from opdlm.evaluate.scorers.math import LONGEST, Comparer

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
    """The letter in tags, a box, the last line or four times in a row, or the option's value at the very end."""
    tags = tagged(text)
    if letter * 4 in text or (tags and set(tags[-1]) in ({letter}, {letter.lower()})):
        return True
    box = boxed(text)
    if box and plain(box).lower() == letter.lower():
        return True
    value = _option(question, letter)
    return (bool(value) and value in text[-20 - len(value) :]) or _ends_with(letter.lower(), text.lower())


def _ends_with(letter: str, text: str) -> bool:
    """Whether the last line is the letter, or has it in its first parentheses."""
    line = text.strip().split("\n")[-1]
    inside = line.split("(")[1].split(")")[0] if "(" in line and ")" in line else ""
    return letter in (line.replace("*", "").strip(), inside)


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

    The comparison is math-verify's, with LiveBench's tolerance. LiveBench's own parser, sympy's with lark, fails on
    some right answers: it reads `x (...)` as a function, and nothing at all with a backslash before a space.
    """
    text = _ADORNMENTS.sub("", text).replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").replace("\\cdot", "*")
    if not text:
        return None
    box = boxed(text)
    answer = _in_dollars(text) if box is None else box
    if answer is None:
        return float(text.removesuffix(".").endswith(_as_compared(gold)))
    if len(answer) > LONGEST:
        return 0.0
    answer = _expression(answer)
    if _NO_EXPRESSION.search(answer) or answer.count("{") != answer.count("}"):
        return 0.0
    return float(comparer.same(gold, answer, TOLERANCE) is True)


_ADORNMENTS = re.compile(r"\+ ?[cC]|\\left|\\right|\\[bB]ig[lr]|\\[,;]|\n")
_NO_EXPRESSION = re.compile(r"\\approx|%|(?<![\\a-zA-Z])[a-zA-Z]{3,}")
"""What LiveBench's parser does not read, or reads as other variables: approximations, per cent and words."""


def _as_compared(gold: str) -> str:
    """A ground truth as LiveBench looks for it at the end of a text without box and dollar signs."""
    return re.sub(r"\\left|\\right", "", gold).replace(" ^", "^").replace("\\ ", "*")


def _in_dollars(text: str) -> str | None:
    """What stands between the last two dollar signs, a double one at the very end counting as one."""
    if text.count("$") < 2:
        return None
    close = text.rfind("$")
    if text[close - 1] == "$":
        close -= 1
    answer = text[text.rfind("$", 0, close) + 1 : close]
    return answer if "=" in answer else answer.split("\\quad \\text{or} \\quad")[-1]


def _expression(answer: str) -> str:
    """An answer without its left side and fonts, and with braces around arguments, by LiveBench's substitutions."""
    answer = re.sub(r".*?\$(.*?)\$.*", r"\1", answer.split("=")[-1])
    for font in ("text", "textbf", "overline"):
        answer = re.sub(rf"\\{font}\{{(.*?)\}}", r"\1", answer)
    answer = re.sub(r"\\boxed\{(.*)\}", r"\1", answer)
    answer = re.sub(r"frac([^{])(.)", r"frac{\1}{\2}", answer)
    answer = re.sub(r"sqrt([^{\[])", r"sqrt{\1}", answer).replace("$", "").strip().removesuffix(".")
    digits = answer.replace(",", "")
    return digits if digits.isdigit() else answer

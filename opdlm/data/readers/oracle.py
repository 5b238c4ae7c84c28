"""When a result is right, as EvalPlus sees it: it agrees with what the reference solution returns.

The text of this file is part of the tests of HumanEval+ and MBPP+, and runs in the tests' sandbox. The rules are those
of EvalPlus 0.3.1 (evalplus/eval/__init__.py, _special_oracle.py): floats within a tolerance, and ten tasks with rules
of their own.
"""

import copy
import math
from collections.abc import Callable
from typing import Any

EVALPLUS_SETS = {
    "similar_elements",
    "find_char_long",
    "common_in_nested_lists",
    "extract_singly",
    "larg_nnum",
    "intersection_array",
    "find_dissimilar",
    "Diff",
}
"""Functions of MBPP whose result may be in any order."""
EVALPLUS_FOUND = {"check_str", "text_match_three", "text_starta_endb"}
"""Functions of MBPP that may return anything but None for True."""
EVALPLUS_ANYTHING = {"are_equivalent"}
"""Functions of MBPP whose task does not say what is right."""
EVALPLUS_OTHERS: dict[str, Callable[..., Any]] = {
    "sum_div": lambda number: 0,
    "surface_Area": lambda base, height: round(base**2 + 2 * base * math.sqrt((base / 2) ** 2 + height**2)),
    "digit_distance_nums": lambda one, other: sum(
        abs(int(a) - int(b))
        for a, b in zip(
            str(one).zfill(max(len(str(one)), len(str(other)))),
            str(other).zfill(max(len(str(one)), len(str(other)))),
            strict=True,
        )
    ),
}
"""Functions of MBPP for which another result is right as well."""


def evalplus_check(candidate: Any, reference: Any, name: str, inputs: list[Any], tolerance: float) -> None:
    """Call both with every list of arguments and compare."""
    for arguments in inputs:
        expected = reference(*copy.deepcopy(arguments))
        result = candidate(*arguments)
        assert evalplus_agrees(name, arguments, result, expected, tolerance), f"arguments {arguments!r}"


def evalplus_agrees(name: str, arguments: Any, result: Any, expected: Any, tolerance: float) -> bool:
    """Whether one result of the function `name` is right."""
    if name == "find_zero":
        return abs(sum(factor * result**power for power, factor in enumerate(arguments[0]))) <= tolerance
    if name in EVALPLUS_ANYTHING:
        return True
    if name in EVALPLUS_SETS:
        return bool(set(result) == set(expected))
    if name in EVALPLUS_FOUND:
        found = expected is not None if not isinstance(expected, bool) else expected
        return (result if isinstance(result, bool) else result is not None) == found
    if result == expected or (name in EVALPLUS_OTHERS and result == EVALPLUS_OTHERS[name](*arguments)):
        return True
    floats = isinstance(expected, float) or (
        isinstance(expected, list | tuple) and bool(expected) and all(isinstance(item, float) for item in expected)
    )
    if tolerance == 0 and not floats:
        return False
    return type(result) is type(expected) and evalplus_close(result, expected, tolerance or 1e-6)


def evalplus_close(result: Any, expected: Any, tolerance: float) -> bool:
    """NumPy's `allclose`, for numbers and lists of them."""
    if isinstance(expected, list | tuple):
        return len(result) == len(expected) and all(
            evalplus_close(one, other, tolerance) for one, other in zip(result, expected, strict=True)
        )
    return bool(result == expected or abs(result - expected) <= tolerance + 1e-07 * abs(expected))

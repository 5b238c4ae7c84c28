"""MBPP+'s arguments, as the release has them in JSON, as the values that its functions take.

JSON has no tuples, sets and complex numbers; which task wants which of them is not in the release but in EvalPlus's
loader (github.com/evalplus/evalplus, evalplus/data/mbpp.py, `mbpp_deserialize_inputs`).
"""

from collections.abc import Callable
from typing import Any

Convert = Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


def _list_of_tuples(value: Any) -> Any:
    return [tuple(item) for item in value]


def _tuple_of_tuples(value: Any) -> Any:
    return tuple(tuple(item) if isinstance(item, list) else item for item in value)


def _list_of_sets(value: Any) -> Any:
    # EvalPlus makes an empty dictionary of an empty list.
    return [set(item) if isinstance(item, list) and item else {} for item in value]


def _dict_of_tuples(value: Any) -> Any:
    return {key: tuple(item) for key, item in value.items()}


def _all_tuples(value: Any) -> Any:
    return tuple(_all_tuples(item) for item in value) if isinstance(value, list) else value


SHAPES: list[tuple[set[int], tuple[Convert, ...]]] = [
    (
        {2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630, 726, 740, 744, 809},
        (tuple,),
    ),
    ({63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780}, (_list_of_tuples,)),
    ({75, 413, 444, 753}, (_list_of_tuples, _same)),
    ({106, 750}, (_same, tuple)),
    ({115}, (_list_of_sets,)),
    ({124}, (float, complex)),
    ({250, 307, 405, 446, 617, 720, 763, 808}, (tuple, _same)),
    ({252}, (complex,)),
    ({259, 278, 401, 445}, (_tuple_of_tuples,)),
    ({580, 615, 791}, (_all_tuples,)),
    ({722}, (_dict_of_tuples, _same)),
]
"""Numbers of tasks, and what their arguments become, one by one; the last also stands for all that follow."""


def restored(task: int, inputs: list[list[Any]]) -> list[list[Any]]:
    """The argument lists of task Mbpp/`task` with their Python types.

    Raises:
        TypeError, ValueError, AttributeError: an argument does not have the shape that the task's arguments have.
    """
    converts = next((converts for tasks, converts in SHAPES if task in tasks), (_same,))
    return [
        [converts[min(place, len(converts) - 1)](value) for place, value in enumerate(arguments)]
        for arguments in inputs
    ]

"""Plain data as JSON lines: the only thing that passes between a model's program and the tests of a benchmark.

Types are exact: an instance of a subclass (say, an `int` that is equal to everything) is refused, not converted.
"""

import collections
import json
import re
import types
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from io import RawIOBase
from typing import Any, BinaryIO

MAX_BYTES = 16 << 20
"""Longest message, in bytes; the longest right result of HumanEval+ takes 12.4 million."""

SEQUENCES: dict[str, Any] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "deque": collections.deque,
}
MAPPINGS: dict[str, Any] = {"dict": dict, "Counter": collections.Counter, "OrderedDict": collections.OrderedDict}
TYPES: dict[str, Any] = {
    kind.__name__: kind for kind in (bool, int, float, complex, str, bytes, list, tuple, set, dict)
}
"""Types that tests pass as arguments."""
VIEWS: list[Any] = [{}.keys(), {}.values(), {}.items()]
ITERABLES: set[Any] = {
    *(types.GeneratorType, map, filter, zip, enumerate, reversed, range),
    *map(type, VIEWS),
    *(type(iter(value)) for value in [[], (), set(), {}, "", *VIEWS]),
}
"""Types whose items are plain data, of which tests make lists and sets. As themselves they are equal to nothing."""


@dataclass(frozen=True, eq=False, slots=True)
class Found:
    """Stands for an `re.Match`, of which tests ask whether there is one: it is true, and equal to nothing else."""

    text: str


class NotPlain(TypeError):  # noqa: N818 - it reads as the statement it makes
    """A value that is not plain data."""


class TooLarge(NotPlain):
    """A value that does not fit into a message."""


def encode(value: Any) -> Any:
    """`value` as JSON-ready data; types that JSON lacks are tagged.

    Raises:
        NotPlain: the value, or a part of it, is not exactly of a plain type, or is nested too deeply.
    """
    try:
        return _encode(value)
    except RecursionError:
        raise NotPlain("the value is nested too deeply or contains itself") from None


def _encode(value: Any) -> Any:
    kind = type(value)
    if value is None or kind in (bool, str, float):
        return value
    if kind is int:
        # Python refuses to print integers of more than 4300 digits in base 10.
        return value if -(2**63) <= value < 2**63 else {"t": "int", "v": hex(value)}
    if kind is list:
        return [_encode(item) for item in value]
    if kind is complex:
        return {"t": "complex", "v": [value.real, value.imag]}
    if kind is bytes:
        return {"t": "bytes", "v": value.hex()}
    if kind is Fraction:
        return {"t": "Fraction", "v": [hex(value.numerator), hex(value.denominator)]}
    if kind is Decimal:
        return {"t": "Decimal", "v": str(value)}
    if kind is type and value in TYPES.values():
        return {"t": "type", "v": value.__name__}
    if kind.__module__ == "numpy" and hasattr(value, "item") and not hasattr(value, "__len__"):
        return _encode(value.item())  # a number, which is equal to Python's
    if kind in ITERABLES:
        return {"t": "items", "v": [_encode(item) for item in value]}
    if kind is re.Match:
        return {"t": "Match", "v": str(value[0])}
    if kind is collections.defaultdict:  # equal to a dict of the same items
        return {"t": "dict", "v": [[_encode(key), _encode(item)] for key, item in value.items()]}
    for name, known in SEQUENCES.items():
        if kind is known:
            return {"t": name, "v": [_encode(item) for item in value]}
    for name, known in MAPPINGS.items():
        if kind is known:
            return {"t": name, "v": [[_encode(key), _encode(item)] for key, item in value.items()]}
    raise NotPlain(f"a {kind.__name__} is not plain data")


def decode(data: Any) -> Any:
    """The value that `encode` was given.

    Raises:
        ValueError, TypeError, KeyError, RecursionError: `data` was not written by `encode`.
    """
    if isinstance(data, list):
        return [decode(item) for item in data]
    if not isinstance(data, dict):
        return data
    tag, content = data["t"], data["v"]
    if tag == "int":
        return int(content, 16)
    if tag == "complex":
        return complex(*content)
    if tag == "bytes":
        return bytes.fromhex(content)
    if tag == "Fraction":
        return Fraction(*(int(part, 16) for part in content))
    if tag == "Decimal":
        return Decimal(content)
    if tag == "type":
        return TYPES[content]
    if tag == "items":
        return iter([decode(item) for item in content])
    if tag == "Match":
        return Found(str(content))
    if tag in SEQUENCES:
        return SEQUENCES[tag](decode(item) for item in content)
    return MAPPINGS[tag]({decode(key): decode(item) for key, item in content})


def write(stream: BinaryIO, message: dict[str, Any]) -> None:
    """Send one message.

    Raises:
        TooLarge: it is longer than `MAX_BYTES`.
        OSError: the other side is gone.
    """
    line = json.dumps(message).encode() + b"\n"
    if len(line) > MAX_BYTES:
        raise TooLarge(f"a value takes more than {MAX_BYTES} bytes")
    stream.write(line)
    stream.flush()


def read(stream: BinaryIO | RawIOBase) -> dict[str, Any] | None:
    """Receive one message; none if the other side is gone.

    Raises:
        TooLarge: the message is longer than `MAX_BYTES`.
        ValueError, RecursionError: it is not one JSON object.
    """
    line = stream.readline(MAX_BYTES + 1)
    if len(line) > MAX_BYTES:
        raise TooLarge(f"a message takes more than {MAX_BYTES} bytes")
    if not line.endswith(b"\n"):
        return None
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("not a message")
    return message

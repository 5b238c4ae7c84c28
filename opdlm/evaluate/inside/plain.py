"""Plain data as JSON lines: the only thing that passes between a model's program and the tests of a benchmark.

Types are exact: an instance of a subclass (say, an `int` that is equal to everything) is refused, not converted.
"""

import collections
import json
import re
from dataclasses import dataclass
from io import RawIOBase
from typing import Any, BinaryIO

MAX_BYTES = 8 << 20
"""Longest message, in bytes."""

SEQUENCES: dict[str, Any] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "deque": collections.deque,
}
MAPPINGS: dict[str, Any] = {"dict": dict, "Counter": collections.Counter, "OrderedDict": collections.OrderedDict}


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

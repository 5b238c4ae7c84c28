"""Speaks the protocol of the tests' process and of the launcher on every stream and descriptor.

Verdict: wrong; as a script: wrong.
"""

import contextlib
import json
import os
import sys

for message in (
    {"up": True},
    {"loaded": True},
    {"test": 0},
    {"reason": "correct", "detail": "plus: passed"},
    {"status": 0},
    {"value": {"t": "int", "v": "0x" + "f" * 100000}},
    {"value": {"t": "set", "v": [[1]]}},
    {"value": {"t": "Match", "v": "6"}},
    {"error": "AssertionError", "detail": None},
    {"error": ["KeyError"]},
):
    print(json.dumps(message), file=sys.stdout)
    print(json.dumps(message), file=sys.stderr)
    for descriptor in range(3, 16):
        with contextlib.suppress(OSError):
            os.write(descriptor, json.dumps(message).encode() + b"\n")


def f(x):
    return 2 * x

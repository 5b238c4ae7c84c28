"""Raises its limits, becomes root, makes namespaces, and fills memory if it may.

Verdict: memory; as a script: memory.
"""

import contextlib
import ctypes
import os
import resource

for kind in range(16):
    for limits in ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), (1 << 40, 1 << 40)):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, limits)
libc = ctypes.CDLL(None)
for flag in (0x10000000, 0x20000, 0x20000000, 0x40000000):
    assert libc.unshare(flag) == -1
for change in (os.setuid, os.setgid):
    try:
        change(0)
        print("root")
    except OSError:
        pass
filled = bytearray(2 << 30)


def f(x):
    return x

"""Looks at every descriptor it inherited for one that leads outside.

Verdict: runtime_error; as a script: wrong.
"""

import contextlib
import os
import socket

for descriptor in range(3, 64):
    try:
        kind = os.fstat(descriptor).st_mode
        os.fchdir(descriptor)
        print("a folder", kind, os.listdir("."))
    except OSError:
        pass
    try:
        socket.socket(fileno=os.dup(descriptor)).sendmsg([b"+"])
        print("a socket")
    except OSError:
        pass
    with contextlib.suppress(OSError):
        os.close(descriptor)


def f(x):
    return x

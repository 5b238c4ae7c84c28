"""Runs a program out of a memory file, with an environment and arguments of its choice.

Verdict: runtime_error; as a script: wrong.
"""

import os
import sys

file = os.memfd_create("x", 0)
os.write(file, b"#!/bin/sh\necho 13; cat /etc/passwd; echo PASS\n")
if os.fork() == 0:
    try:
        os.execve(f"/proc/self/fd/{file}", ["x"], {"LD_PRELOAD": "/tmp/x.so"})
    except OSError:
        os._exit(1)
os.execv(sys.executable, [sys.executable, "-c", 'print(\'{"reason": "correct"}\')'])


def f(x):
    return x

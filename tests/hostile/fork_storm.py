"""Every child forks and takes a session of its own; all answer at once.

Verdict: wrong; as a script: wrong.
"""

import contextlib
import os
import time

for _ in range(12):
    try:
        if os.fork() == 0:
            os.setsid()
            with contextlib.suppress(OSError):
                os.write(4, b'{"value": 6}\n' * 4)
            time.sleep(60)
    except OSError:
        pass


def f(x):
    return x

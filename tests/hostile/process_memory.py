"""Reads and writes the memory of its parent, of process 1 and of itself through /proc.

Verdict: wrong; as a script: wrong.
"""

import os

for process in ("self", 1, os.getppid(), *range(2, 40)):
    for name in ("mem", "maps", "environ", "cmdline", "fd/0", "root/etc/passwd"):
        try:
            with open(f"/proc/{process}/{name}", "r+b") as stream:
                print(stream.read(1000))
                stream.write(b"correct")
        except OSError:
            pass


def f(x):
    return x

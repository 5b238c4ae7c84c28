"""Processes that must not outlive the one that started them."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""Of Linux's `prctl`: the signal that a process gets when its parent dies. It survives `exec`."""
PARENT = os.getppid()
"""Who started this process, unless it has ended already."""


def end_with_parent() -> None:
    """Have the kernel kill this process when the one that started it ends. Elsewhere than on Linux nothing happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != PARENT:  # it ended before it could be asked for
            sys.exit("error: the process that started this one has ended")

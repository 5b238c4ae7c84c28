"""A program without a sandbox, which `--unsafe` permits: a folder of its own, and an end for all that it started.

What holds it are the limits and walls of `isolation.py` that need no namespaces.
"""

import contextlib
import ctypes
import os
import signal
from pathlib import Path

from opdlm.evaluate.inside.isolation import HOME, LIBRARIES

ADOPT_ORPHANS = 36
"""<linux/prctl.h>"""


def own_folder(libraries: list[str]) -> str:
    """A new folder with an empty `home`, and with `libraries`, where Python finds the given ones.

    Processes whose parents end become this process's children from now on.

    Raises:
        OSError: the kernel refuses that or does not list children, or there is no place for a folder.
    """
    import tempfile  # here, because under bubblewrap each sandbox would wait for it

    if ctypes.CDLL(None, use_errno=True).prctl(ADOPT_ORPHANS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) is refused")
    _children()
    folder = tempfile.mkdtemp(prefix="opdlm-")
    os.mkdir(folder + HOME)
    os.mkdir(folder + LIBRARIES)
    for library in libraries:
        os.symlink(library, f"{folder}{LIBRARIES}/{os.path.basename(library)}")
    return folder


def clear(folder: str) -> None:
    """End all children, theirs too, wait for the end of each, and remove the folder."""
    import shutil

    while True:
        for child in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break
    shutil.rmtree(folder, ignore_errors=True)


def _children() -> list[int]:
    return [int(child) for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]

"""Landlock: the files that a process may use from now on, and for good, by the kernel's check of each access.

In namespaces this is a second wall. Without them it is the only one around the files.
"""

import ctypes
import os
from collections.abc import Iterable

# Numbers of the Linux interface, <linux/landlock.h>.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""The same on all machines."""
ASK_VERSION, BENEATH = 1, 1
EXECUTE, WRITE_FILE, READ_FILE, READ_FOLDER, TRUNCATE = 1, 2, 4, 8, 1 << 14
RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many rights to files a version of the interface knows; the last one listed is also that of later ones."""
READ = EXECUTE | READ_FILE | READ_FOLDER
FOR_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
TCP, SCOPES = 3, 3
"""Binding and connecting (version 4); signals and abstract sockets to the outside (version 6)."""


class Ruleset(ctypes.Structure):
    """`struct landlock_ruleset_attr`."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("files", "network", "scoped")]


class Beneath(ctypes.Structure):
    """`struct landlock_path_beneath_attr`."""

    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def confine(readable: Iterable[str], writable: Iterable[str]) -> None:
    """Allow this process no files but those beneath the given ones. It must have given up new privileges before.

    It can also no longer signal, trace or reach over TCP what is outside, as far as the kernel's version has that.
    Names that do not exist are passed over.

    Raises:
        OSError: the kernel has no Landlock, or refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    version = _call(libc, CREATE_RULESET, None, 0, ASK_VERSION)
    rights = (1 << RIGHTS[min(version, max(RIGHTS))]) - 1
    wanted = Ruleset(rights, TCP if version >= 4 else 0, SCOPES if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = _call(libc, CREATE_RULESET, ctypes.byref(wanted), size, 0)
    try:
        for name in readable:
            _allow(libc, rules, name, READ & rights)
        for name in writable:
            _allow(libc, rules, name, rights)
        _call(libc, RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


def _allow(libc: ctypes.CDLL, rules: int, name: str, rights: int) -> None:
    try:
        place = os.open(name, os.O_PATH)
    except FileNotFoundError:
        return
    try:
        allowed = rights if os.path.isdir(name) else rights & FOR_FILES
        _call(libc, ADD_RULE, rules, BENEATH, ctypes.byref(Beneath(allowed, place)), 0)
    finally:
        os.close(place)


def _call(libc: ctypes.CDLL, number: int, *arguments: object) -> int:
    result = libc.syscall(number, *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"landlock: {os.strerror(code)}")
    return int(result)

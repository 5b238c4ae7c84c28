"""A filter of system calls: a second wall where namespaces are the first, against bugs of the kernel behind rare calls.

What programs of contests do not need is refused with EPERM: looking into processes, mounting, new namespaces, keys,
programs and modules for the kernel, its clocks, io_uring, and sockets of any network. The filter is a program for the
kernel's BPF machine, made here; it holds for the process, for all it starts, and for good.
"""

import ctypes
import errno
import os
import platform
from collections.abc import Iterable
from typing import NamedTuple

# Numbers of the Linux interface, <linux/audit.h>, <linux/bpf_common.h>, <linux/seccomp.h>, <linux/prctl.h>.
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Column in `CALLS`, and what the kernel calls it."""
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, MACHINE, FIRST_ARGUMENT = 0, 4, 16
"""Places in the kernel's description of a call."""
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
SET_SECCOMP, FILTER = 22, 2
X32 = 0x40000000
"""Calls of another interface of x86-64 have this bit."""
NEW_NAMESPACES = 0x7E020000
"""Flags of clone(2)."""

# <asm/unistd_64.h> of x86-64 and <asm-generic/unistd.h>, which is aarch64's; none where there is no such call.
CALLS: dict[str, tuple[int, int | None]] = {
    # Other processes.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "move_pages": (279, 239),
    # Mounts, namespaces, and files by other ways than their names.
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    # Keys.
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # Large and rarely used parts of the kernel.
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "memfd_secret": (447, 447),
    # The machine.
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "syslog": (103, 116),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "iopl": (172, None),
    "ioperm": (173, None),
}
LEAVE_GROUP: dict[str, tuple[int, int | None]] = {"setpgid": (109, 154), "setsid": (112, 157)}
"""How a process leaves its group, which is all that holds a program together where there are no namespaces."""
CLONE, CLONE3, SOCKET = (56, 220), (435, 435), (41, 198)
UNIX = 1
"""The family of sockets between processes of one machine."""


class Step(NamedTuple):
    """One instruction of the kernel's machine, `struct sock_filter`."""

    code: int
    if_true: int
    """Instructions to skip if a comparison holds."""
    if_false: int
    value: int


class Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = [("length", ctypes.c_uint16), ("steps", ctypes.c_void_p)]


def filter_calls(stay_in_group: bool = False) -> None:
    """Filter the calls of this process from now on. It must have given up new privileges before (prctl(2)).

    Args:
        stay_in_group: whether it, and what it starts, must stay in its process group.

    Raises:
        OSError: the kernel refuses, or the machine is none whose calls are known here.
    """
    calls = CALLS | LEAVE_GROUP if stay_in_group else CALLS
    steps = [
        word
        for step in instructions(platform.machine(), calls)
        for word in (step.code | step.if_true << 16 | step.if_false << 24, step.value)
    ]
    words = (ctypes.c_uint32 * len(steps))(*steps)
    program = Program(len(steps) // 2, ctypes.addressof(words))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(SET_SECCOMP, FILTER, ctypes.byref(program), 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")


def instructions(machine: str, calls: Iterable[str]) -> list[Step]:
    """The filter for a machine, as Python names it.

    Raises:
        OSError: its calls are not known here.
    """
    if machine not in MACHINES:
        raise OSError(errno.ENOSYS, f"seccomp: the system calls of {machine} are not known")
    column, name = MACHINES[machine]
    known = CALLS | LEAVE_GROUP
    return [
        Step(LOAD, 0, 0, MACHINE),
        Step(EQUAL, 1, 0, name),
        _answer(errno.EPERM),
        Step(LOAD, 0, 0, NUMBER),
        Step(AT_LEAST, 0, 1, X32),
        _answer(errno.EPERM),
        *(step for call in calls for step in _refused(known[call][column], errno.EPERM)),
        # The flags of clone3 are in memory, where a filter cannot look; told that there is none, libraries use clone.
        *_refused(CLONE3[column], errno.ENOSYS),
        *_by_argument(CLONE[column], Step(ANY_BIT, 0, 1, NEW_NAMESPACES)),
        *_by_argument(SOCKET[column], Step(EQUAL, 1, 0, UNIX)),
        Step(RETURN, 0, 0, ALLOW),
    ]


def _answer(number: int) -> Step:
    return Step(RETURN, 0, 0, REFUSE | number)


def _refused(call: int | None, number: int) -> list[Step]:
    return [Step(EQUAL, 0, 1, call), _answer(number)] if call is not None else []


def _by_argument(call: int, test: Step) -> list[Step]:
    """Refuse a call if the step after the test of its first argument is reached."""
    return [
        Step(EQUAL, 0, 4, call),
        Step(LOAD, 0, 0, FIRST_ARGUMENT),
        test,
        _answer(errno.EPERM),
        Step(RETURN, 0, 0, ALLOW),
    ]

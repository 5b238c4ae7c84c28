"""Isolation of the calling process with Linux namespaces, resource limits, and walls around system calls and files; the
standard library is all it needs.

Covered: file system (a new root that holds the Python installation, the system libraries and NumPy read-only, two small
memory-backed folders, /dev/null and /dev/urandom, and nothing else, not even /proc), processes, network (not even
loopback), System V and POSIX IPC, capabilities, identity (root becomes `nobody`), further user namespaces, memory,
number of processes, processor time, size and number of files, system calls that no program of a contest needs. Not
covered: a bug of the kernel may be reached by the calls that are left; memory is limited for each process, not for
their sum; under bubblewrap the limit on processes does not hold for root if nobody else can read Python.
"""

import ctypes
import os
import resource
import sys
from typing import NamedTuple

from opdlm.evaluate.inside.landlock import confine
from opdlm.evaluate.inside.seccomp import filter_calls

NOBODY = 65534
HOME, LIBRARIES = "/home", "/libraries"
UNFILTERED, UNCONFINED = 1, 2
"""Walls that a kernel does not have: against system calls, around files."""

# Numbers of the Linux interface, <linux/sched.h>, <linux/mount.h>, <linux/prctl.h>, <linux/capability.h>.
NEW_MOUNTS, NEW_USER, NEW_PIDS = 0x00020000, 0x10000000, 0x20000000
NEW_HOSTNAME, NEW_IPC, NEW_NETWORK = 0x04000000, 0x08000000, 0x40000000
READ_ONLY, NO_SUID, NO_DEVICES, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
DETACH = 2
MOUNT_SETATTR, AT_RECURSIVE = 442, 0x8000
SET_DEATH_SIGNAL, SET_DUMPABLE, DROP_BOUND, NO_NEW_PRIVILEGES = 1, 4, 24, 38
CAPABILITY_VERSION = 0x20080522


SYSTEM = ("/usr", "/lib", "/lib64", sys.base_prefix)
"""What a program may read: the system's libraries and the Python installation."""


class Limits(NamedTuple):
    """Limits of each process in a sandbox, and of the sandbox."""

    memory: int
    """Bytes of address space, a process."""
    processes: int
    """Processes and threads, in all."""
    seconds: int
    """Processor time, a process."""
    file_bytes: int
    """Size of a file, and of each of the two folders that can be written."""


class MountAttributes(ctypes.Structure):
    """`struct mount_attr` of mount_setattr(2)."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "namespace")]


def enter_namespaces(limits: Limits, libraries: list[str]) -> None:
    """Cut the process off. Its next child is process 1 of the sandbox, and must call `drop_rights`.

    Args:
        limits: of the sandbox.
        libraries: folders that can be read in `LIBRARIES`.

    Raises:
        OSError: the kernel refuses; the message names the step.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    own = os.open("/proc/self", os.O_DIRECTORY)
    sysctl = os.open("/proc/sys/user", os.O_DIRECTORY)
    _write(own, "oom_score_adj", "1000")
    apart = NEW_MOUNTS | NEW_PIDS | NEW_HOSTNAME | NEW_IPC | NEW_NETWORK
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        # The limit on processes does not hold for root, and the Python installation may be readable by root's own
        # name only; so root builds the new root first and becomes nobody then.
        _check(libc.unshare(apart), "unshare")
        _build_root(libc, limits, libraries)
        user, group = NOBODY, NOBODY
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
        _check(libc.prctl(SET_DUMPABLE, 1, 0, 0, 0), "prctl")
        _check(libc.unshare(NEW_USER), "unshare(user)")
        _become_nobody(own, user, group)
    else:
        _check(libc.unshare(NEW_USER | apart), "unshare(user)")
        _become_nobody(own, user, group)
        _build_root(libc, limits, libraries)
    # Whoever owns a user namespace may mount: a way around the limits on memory.
    _write(sysctl, "max_user_namespaces", "0")
    os.close(own)
    os.close(sysctl)


def _become_nobody(own: int, user: int, group: int) -> None:
    _write(own, "setgroups", "deny")
    _write(own, "uid_map", f"{NOBODY} {user} 1")
    _write(own, "gid_map", f"{NOBODY} {group} 1")


def _build_root(libc: ctypes.CDLL, limits: Limits, libraries: list[str]) -> None:
    """Move into a new root and let go of the old one."""
    _mount(libc, None, "/", None, RECURSIVE | PRIVATE)
    _mount(libc, "tmpfs", "/tmp", "tmpfs", NO_SUID | NO_DEVICES, "mode=755,size=1m")
    os.mkdir("/tmp/old")
    _check(libc.pivot_root(b"/tmp", b"/tmp/old"), "pivot_root")
    os.chdir("/")
    for folder in SYSTEM:
        if os.path.islink(f"/old{folder}"):
            os.symlink(os.readlink(f"/old{folder}"), folder)
        elif os.path.isdir(f"/old{folder}") and not os.path.exists(folder):
            _mount_read_only(libc, f"/old{folder}", folder)
    for folder in libraries:
        _mount_read_only(libc, f"/old{folder}", f"{LIBRARIES}/{os.path.basename(folder)}")
    os.mkdir("/dev")
    for device in ("/dev/null", "/dev/urandom"):
        os.close(os.open(device, os.O_CREAT | os.O_WRONLY, 0o644))
        _mount(libc, f"/old{device}", device, None, BIND)
    for folder in (HOME, "/tmp"):
        os.mkdir(folder)
        options = f"mode=1777,size={limits.file_bytes},nr_inodes=4096"
        _mount(libc, "tmpfs", folder, "tmpfs", NO_SUID | NO_DEVICES, options)
    _check(libc.umount2(b"/old", DETACH), "umount")
    os.rmdir("/old")
    _mount(libc, None, "/", None, REMOUNT | BIND | READ_ONLY | NO_SUID | NO_DEVICES)
    os.chdir(HOME)


def drop_rights(limits: Limits) -> None:
    """Give up what is left of privileges and set the limits, for good."""
    libc = ctypes.CDLL(None, use_errno=True)
    os.setsid()
    for capability in range(64):
        libc.prctl(DROP_BOUND, capability, 0, 0, 0)
    header, nothing = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
    _check(libc.capset(header, nothing), "capset")
    _check(libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0), "prctl")
    _check(libc.prctl(SET_DEATH_SIGNAL, 9, 0, 0, 0), "prctl")
    for kind, value in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_NPROC, limits.processes),
        (resource.RLIMIT_CPU, limits.seconds),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (value, value))
    if not os.access(os.__file__, os.R_OK):
        raise OSError(f"{os.__file__} cannot be read by an unprivileged user; Python must be readable by all")


def add_walls(home: str, libraries: list[str], bare: bool) -> int:
    """Restrict calls and files of the calling process further, for good, as far as the kernel can.

    Args:
        home: the folder that may be written.
        libraries: folders that may be read.
        bare: whether there is no new root and no process namespace.

    Returns:
        The walls that the kernel refuses, `UNFILTERED` and `UNCONFINED`.
    """
    missing = 0
    readable = (*SYSTEM, *libraries, "/dev/urandom") if bare else ("/",)
    try:
        confine(readable, (home, "/dev/null") if bare else (home, "/tmp", "/dev/null"))
    except OSError:
        missing |= UNCONFINED
    try:
        filter_calls(stay_in_group=bare)
    except OSError:
        missing |= UNFILTERED
    return missing


def _mount_read_only(libc: ctypes.CDLL, source: str, folder: str) -> None:
    os.makedirs(folder)
    _mount(libc, source, folder, None, BIND | RECURSIVE)
    wanted = MountAttributes(set=READ_ONLY | NO_SUID | NO_DEVICES)
    size = ctypes.sizeof(wanted)
    result = libc.syscall(MOUNT_SETATTR, -1, folder.encode(), AT_RECURSIVE, ctypes.byref(wanted), size)
    _check(result, f"mount_setattr({folder})")


def _mount(libc: ctypes.CDLL, source: str | None, target: str, kind: str | None, flags: int, options: str = "") -> None:
    encoded = [text.encode() if text else None for text in (source, target, kind)]
    _check(libc.mount(*encoded, ctypes.c_ulong(flags), options.encode()), f"mount({target})")


def _write(folder: int, name: str, text: str) -> None:
    descriptor = os.open(name, os.O_WRONLY, dir_fd=folder)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _check(result: int, step: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{step}: {os.strerror(number)}")

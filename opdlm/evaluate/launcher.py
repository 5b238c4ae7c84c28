"""Starting sandboxes: with our own isolation where the kernel lets this user make namespaces, else with bubblewrap.

The demo needs nothing installed: root, and an ordinary user with user namespaces, are served by our own. With neither,
nothing is run, unless someone permits it: then programs are processes with limits and no more, and a warning says so.
"""

import importlib.util
import json
import math
import os
import resource
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import opdlm
from opdlm.errors import SandboxError
from opdlm.evaluate.inside import __main__ as inside
from opdlm.evaluate.inside.isolation import HOME, LIBRARIES, NOBODY, UNCONFINED, UNFILTERED, Limits

START_SECONDS = 30.0
"""Patience with the start and with the end of a sandbox."""
MEMORY = 1 << 30
PROCESSES = 8
FILE_BYTES = 32 << 20
DANGERS = {
    0: "Landlock keeps them from your files, but",
    UNFILTERED: "Landlock keeps them from your files, but they can use the network, and",
    UNCONFINED: "They can read, write and delete your files, and",
    UNFILTERED | UNCONFINED: "They can read, write, delete and send your files, and",
}
"""What programs without a sandbox can do, by the walls that the kernel lacks."""


class Cell:
    """A running sandbox, seen from outside."""

    def __init__(self, report: int) -> None:
        self._report = report
        self._told: dict[str, Any] | None = None

    def ended(self, seconds: float) -> int | None:
        """Wait for the end; its exit status, or none if it still runs after `seconds`.

        Raises:
            SandboxError: it could not be set up.
        """
        if self._told is None:
            if not readable(self._report, time.monotonic() + seconds):
                return None
            # Without a report the process that watches was killed; under bubblewrap the program can do that.
            self._told = json.loads(os.read(self._report, 4096) or b'{"status": 137}')
        if "failed" in self._told:
            raise SandboxError(f"a sandbox cannot be set up: {self._told['failed']}")
        return int(self._told["status"])


class Launcher:
    """Starts sandboxes until the `with` block ends; may be used from several threads.

    Args:
        unsafe: where there is no safe way, warn and run programs all the same.

    Raises:
        SandboxError: on entry, if there is no safe way; the message says what is missing.
    """

    def __init__(self, unsafe: bool = False) -> None:
        self._unsafe = unsafe
        self._enclosure: Literal["namespaces", "bubblewrap", "none"] = "namespaces"
        self._bubblewrap: list[str] = []
        self._user: int | None = None
        self._libraries = _libraries()
        self._lacking = 0
        self._orders, self._inherited = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def __enter__(self) -> "Launcher":
        descriptor = self._inherited.fileno()
        self._starter = _start([*_python(), "many", str(descriptor)], [descriptor])
        self._inherited.close()
        try:
            self._choose()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._orders.close()
        self._starter.wait()

    def _choose(self) -> None:
        trouble = self._safe_way()
        if not trouble:
            if self._lacking & UNFILTERED:
                _say("note: this kernel does not filter system calls (seccomp); namespaces alone hold programs")
            return
        remedy = (
            "Use Linux 5.12 or newer, and permit user namespaces (sysctl user.max_user_namespaces) or install "
            "bubblewrap."
        )
        if self._unsafe:
            self._enclosure = "none"
            more = self._trouble()
            if not more:
                _say(
                    f"warning: programs written by a model run WITHOUT A SANDBOX, as you permit. {trouble}. "
                    f"{DANGERS[self._lacking]} they can fill the machine's memory, disk and processes, and a hostile "
                    f"one can end your other processes and harm the verdicts. {remedy}"
                )
                return
            trouble = f"{trouble}; without a sandbox: {more}"
        raise SandboxError(
            f"programs written by a model are not run without a sandbox. {trouble}. {remedy} "
            "The option --unsafe runs them without one, where they can do what you can do."
        )

    def _safe_way(self) -> str:
        """Take the first safe way that works here; empty if there is one, else what is missing."""
        refused = self._trouble()
        if not refused:
            return ""
        more, program = "bubblewrap (`bwrap`) is not installed", shutil.which("bwrap")
        if program:
            self._enclosure, self._bubblewrap = "bubblewrap", _bubblewrap(program, self._libraries)
            # The limit on processes does not hold for root, but nobody may be unable to read the Python installation.
            for self._user in (NOBODY, None) if os.geteuid() == 0 else (None,):
                more = self._trouble()
                if not more:
                    return ""
        return f"Namespaces are refused ({refused}); {more}"

    def _trouble(self) -> str:
        """Why sandboxes cannot be started here; empty if they can."""
        try:
            with self.cell({"role": "nothing"}, [], 1) as cell:
                status = cell.ended(START_SECONDS)
        except SandboxError as error:
            return str(error)
        self._lacking = status - inside.LACKING if status else 0
        return "" if status is not None and self._lacking in DANGERS else f"exit status {status}"

    @contextmanager
    def cell(self, order: dict[str, Any], pipes: list[int], seconds: float) -> Iterator[Cell]:
        """A sandbox, gone with all its processes when the block ends. `pipes` become the sandbox's and are closed.

        Args:
            order: what `opdlm.evaluate.inside` shall do.
            seconds: processor time of each process.

        Raises:
            SandboxError: the sandbox could not be set up.
        """
        # Without a namespace the limit would count all processes of this user.
        processes = resource.getrlimit(resource.RLIMIT_NPROC)[1] if self._enclosure == "none" else PROCESSES
        limits = Limits(MEMORY, processes, math.ceil(seconds) + 1, FILE_BYTES)
        lifeline_out, lifeline = os.pipe()
        report, report_in = os.pipe()
        given = [lifeline_out, report_in, *pipes]
        try:
            process = self._launch(given)
        finally:
            for descriptor in given:
                os.close(descriptor)
        cell = Cell(report)
        try:
            try:
                around = {"limits": limits, "enclosure": self._enclosure, "libraries": self._libraries}
                with suppress(BrokenPipeError), open(lifeline, "wb", closefd=False) as stream:
                    stream.write(json.dumps({**order, **around}).encode() + b"\n")
                with suppress(BrokenPipeError):
                    yield cell
            finally:
                os.close(lifeline)
                if process:
                    _end(process)
                if cell.ended(START_SECONDS) is None:
                    raise SandboxError("a sandbox did not end")
        finally:
            os.close(report)

    def _launch(self, given: list[int]) -> "subprocess.Popen[bytes] | None":
        if self._enclosure == "bubblewrap":
            return _start([*self._bubblewrap, "one", *map(str, given)], given, self._user)
        try:
            socket.send_fds(self._orders, [b"+"], given)
        except OSError as error:
            raise SandboxError(f"the process that starts sandboxes has ended ({error.strerror})") from None
        return None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def readable(descriptor: int, deadline: float) -> bool:
    """Whether there is something to read (or the end) before `deadline` on the monotonic clock."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(deadline - time.monotonic(), 0) * 1000))


def _start(command: list[str], descriptors: list[int], user: int | None = None) -> "subprocess.Popen[bytes]":
    nowhere = subprocess.DEVNULL
    folder = Path(opdlm.__file__).parents[1]
    groups: list[int] | None = None if user is None else []
    return subprocess.Popen(
        command,
        stdin=nowhere,
        stdout=nowhere,
        pass_fds=descriptors,
        cwd=folder,
        env={},
        user=user,
        group=user,
        extra_groups=groups,
    )


def _end(bubblewrap: "subprocess.Popen[bytes]") -> None:
    """Wait for bubblewrap's end, which a program may hold up by stopping the process that watches it."""
    try:
        bubblewrap.wait(1)
    except subprocess.TimeoutExpired:
        bubblewrap.kill()
        bubblewrap.wait()


def _libraries() -> list[str]:
    """Folders of NumPy, which the harnesses of all benchmarks have at hand."""
    found = importlib.util.find_spec("numpy")
    package = Path(str(found.origin if found else "")).parent
    return [str(folder) for folder in (package, package.with_name("numpy.libs")) if found and folder.is_dir()]


def _python() -> list[str]:
    # The interpreter itself, not the link in a virtual environment: packages stay outside.
    return [os.path.realpath(sys.executable), "-E", "-s", "-S", "-m", str(inside.__package__)]


def _bubblewrap(program: str, libraries: list[str]) -> list[str]:
    links = [f"/{name}" for name in ("lib", "lib64") if os.path.islink(f"/{name}")]
    folders = {"/usr", "/lib", "/lib64", sys.base_prefix} - set(links)
    package = str(Path(opdlm.__file__).parent)
    command = [program, "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--clearenv"]
    command += ["--cap-drop", "ALL", "--uid", str(NOBODY), "--gid", str(NOBODY)]
    for folder in sorted(folder for folder in folders if os.path.isdir(folder)):
        command += ["--ro-bind", folder, folder]
    for folder in libraries:
        command += ["--ro-bind", folder, f"{LIBRARIES}/{Path(folder).name}"]
    for link in links:
        command += ["--symlink", os.readlink(link), link]
    command += ["--dev", "/dev", "--remount-ro", "/dev", "--ro-bind", package, "/package/opdlm"]
    for folder in (HOME, "/tmp"):
        command += ["--size", str(FILE_BYTES), "--tmpfs", folder]
    return [*command, "--remount-ro", "/", "--chdir", "/package", *_python()]

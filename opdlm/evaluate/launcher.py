"""Starting sandboxes: with our own isolation where the kernel lets this user make namespaces, else with bubblewrap.

The demo needs nothing installed: root, and an ordinary user with user namespaces, are served by our own. With neither,
nothing is run.
"""

import json
import math
import os
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
from typing import Any

import opdlm
from opdlm.errors import SandboxError
from opdlm.evaluate.inside import __main__ as inside
from opdlm.evaluate.inside.isolation import HOME, NOBODY, Limits

START_SECONDS = 30.0
"""Patience with the start and with the end of a sandbox."""
MEMORY = 1 << 30
PROCESSES = 8
FILE_BYTES = 32 << 20


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

    Raises:
        SandboxError: on entry, if there is no safe way; the message says what is missing.
    """

    def __init__(self) -> None:
        self._bubblewrap: list[str] = []
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
        trouble = self._trouble()
        if not trouble:
            return
        program = shutil.which("bwrap")
        more = "bubblewrap (`bwrap`) is not installed"
        if program:
            self._bubblewrap = _bubblewrap(program)
            more = self._trouble()
            if not more:
                return
        raise SandboxError(
            f"programs written by a model are not run without a sandbox. Namespaces are refused ({trouble}); {more}. "
            "Use Linux 5.12 or newer, and permit user namespaces (sysctl user.max_user_namespaces) or install "
            "bubblewrap."
        )

    def _trouble(self) -> str:
        """Why sandboxes cannot be started here; empty if they can."""
        try:
            with self.cell({"role": "nothing"}, [], 1) as cell:
                status = cell.ended(START_SECONDS)
        except SandboxError as error:
            return str(error)
        return "" if status == 0 else f"exit status {status}"

    @contextmanager
    def cell(self, order: dict[str, Any], pipes: list[int], seconds: float) -> Iterator[Cell]:
        """A sandbox, gone with all its processes when the block ends. `pipes` become the sandbox's and are closed.

        Args:
            order: what `opdlm.evaluate.inside` shall do.
            seconds: processor time of each process.

        Raises:
            SandboxError: the sandbox could not be set up.
        """
        limits = Limits(MEMORY, PROCESSES, math.ceil(seconds) + 1, FILE_BYTES)
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
                with suppress(BrokenPipeError), open(lifeline, "wb") as stream:
                    order = {**order, "limits": limits, "isolate": not self._bubblewrap}
                    stream.write(json.dumps(order).encode() + b"\n")
                    stream.flush()
                    yield cell
            finally:
                if process:
                    _end(process)
                if cell.ended(START_SECONDS) is None:
                    raise SandboxError("a sandbox did not end")
        finally:
            os.close(report)

    def _launch(self, given: list[int]) -> "subprocess.Popen[bytes] | None":
        if self._bubblewrap:
            return _start([*self._bubblewrap, "one", *map(str, given)], given)
        try:
            socket.send_fds(self._orders, [b"+"], given)
        except OSError as error:
            raise SandboxError(f"the process that starts sandboxes has ended ({error.strerror})") from None
        return None


def readable(descriptor: int, deadline: float) -> bool:
    """Whether there is something to read (or the end) before `deadline` on the monotonic clock."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(deadline - time.monotonic(), 0) * 1000))


def _start(command: list[str], descriptors: list[int]) -> "subprocess.Popen[bytes]":
    nowhere = subprocess.DEVNULL
    folder = Path(opdlm.__file__).parents[1]
    return subprocess.Popen(command, stdin=nowhere, stdout=nowhere, pass_fds=descriptors, cwd=folder, env={})


def _end(bubblewrap: "subprocess.Popen[bytes]") -> None:
    """Wait for bubblewrap's end, which a program may hold up by stopping the process that watches it."""
    try:
        bubblewrap.wait(1)
    except subprocess.TimeoutExpired:
        bubblewrap.kill()
        bubblewrap.wait()


def _python() -> list[str]:
    # The interpreter itself, not the link in a virtual environment: packages stay outside.
    return [os.path.realpath(sys.executable), "-E", "-s", "-S", "-m", str(inside.__package__)]


def _bubblewrap(program: str) -> list[str]:
    links = [f"/{name}" for name in ("lib", "lib64") if os.path.islink(f"/{name}")]
    folders = {"/usr", "/lib", "/lib64", sys.base_prefix} - set(links)
    package = str(Path(opdlm.__file__).parent)
    command = [program, "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--clearenv"]
    command += ["--cap-drop", "ALL", "--uid", str(NOBODY), "--gid", str(NOBODY)]
    for folder in sorted(folder for folder in folders if os.path.isdir(folder)):
        command += ["--ro-bind", folder, folder]
    for link in links:
        command += ["--symlink", os.readlink(link), link]
    command += ["--dev", "/dev", "--remount-ro", "/dev", "--ro-bind", package, "/package/opdlm"]
    for folder in (HOME, "/tmp"):
        command += ["--size", str(FILE_BYTES), "--tmpfs", folder]
    return [*command, "--remount-ro", "/", "--chdir", "/package", *_python()]

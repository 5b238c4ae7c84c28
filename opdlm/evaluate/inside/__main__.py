"""Start of sandboxes. `many SOCKET` forks one for every set of descriptors that arrives; `one DESCRIPTOR...` is one.

The first descriptor brings the order (one JSON line) and is the lifeline: as soon as the judge closes its end, on
purpose or because it died, process 1 of the sandbox is killed, and with it every process of the sandbox. The second
takes the report: why isolation failed, or the exit status. It is closed after the last process has ended. Neither is
open in the sandbox, and forking a process that has never seen a secret is as good as starting one, and faster.
"""

import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from typing import Any

from opdlm.evaluate.inside import bare, judging, roles
from opdlm.evaluate.inside.isolation import HOME, LIBRARIES, Limits, add_walls, drop_rights, enter_namespaces

LACKING = 40
"""Exit status of a sandbox in which nothing is to be done, plus the walls that it lacks; 0 if it lacks none."""


def main(arguments: list[str]) -> None:
    """Run as a program."""
    descriptors = [int(text) for text in arguments[1:]]
    if arguments[0] == "many":
        _start_many(socket.socket(fileno=descriptors[0]))
    else:
        _start_one(descriptors)


def _start_many(orders: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended children need no wait
    while True:
        message, descriptors, *_ = socket.recv_fds(orders, 1, 8)
        if not message:
            return
        if os.fork() == 0:
            orders.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _start_one(descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)


def _start_one(descriptors: list[int]) -> None:
    lifeline, report, *pipes = descriptors
    with open(lifeline, "rb", closefd=False) as stream:
        order = json.loads(stream.readline())
    limits = Limits(*order["limits"])
    is_bare, folder = order["enclosure"] == "none", ""
    try:
        if order["enclosure"] == "namespaces":
            enter_namespaces(limits, order["libraries"])
        elif is_bare:
            folder = bare.own_folder(order["libraries"])
        child = os.fork()
        if child == 0:
            drop_rights(limits)
            missing = add_walls(folder + HOME, [*order["libraries"], folder + LIBRARIES], is_bare)
    except OSError as error:
        os.write(report, json.dumps({"failed": str(error)}).encode())
        os._exit(1)
    if child == 0:
        os.close(lifeline)
        os.close(report)
        _run(order, pipes, folder, missing)
        return
    for descriptor in pipes:
        os.close(descriptor)
    status = _supervised(child, lifeline, is_bare)
    if is_bare:
        bare.clear(folder)
    os.write(report, json.dumps({"status": status}).encode())
    os._exit(0)


def _supervised(child: int, lifeline: int, is_bare: bool) -> int:
    """Wait for the end of process 1 or of the lifeline; the exit status, 128 after a signal."""
    ended = os.pidfd_open(child)
    ready = select.poll()
    ready.register(ended, select.POLLIN)
    ready.register(lifeline, select.POLLIN)
    ready.poll()
    if is_bare:
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # now, while no other group can have the number
    # Process 1 of a namespace can be waited for only after every other process of it is gone.
    signal.pidfd_send_signal(ended, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128


def _run(order: dict[str, Any], pipes: list[int], root: str, missing: int) -> None:
    """Process 1 of the sandbox, whose home and libraries are beneath `root`."""
    home = root + HOME
    os.chdir(home)
    os.environ.clear()
    os.environ.update({"HOME": home, "PATH": "/usr/bin", "LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"})
    sys.argv[:] = sys.orig_argv[:] = ["solution.py"]  # a program may look for arguments of its own
    python = (sys.base_prefix, sys.base_exec_prefix)
    sys.path[:] = [folder for folder in sys.path if folder.startswith(python) and os.path.exists(folder)]
    sys.path.append(root + LIBRARIES)
    role = order["role"]
    if role == "nothing":  # a try-out of the machine
        sys.exit(LACKING + missing if missing else 0)
    if role == "script":
        _run_script(order["code"], pipes)
        return
    try:
        roles.silence()
        if role == "program":
            roles.serve(order["code"], order["prelude"], os.fdopen(pipes[0], "rb"), os.fdopen(pipes[1], "wb"))
        else:
            streams = os.fdopen(pipes[0], "wb"), os.fdopen(pipes[1], "rb"), os.fdopen(pipes[2], "wb")
            judging.judge(order, *streams)
    finally:
        os._exit(0)  # what a program left to run at exit is of no interest


def _run_script(code: str, pipes: list[int]) -> None:
    os.write(pipes[1], b"\n")  # the sandbox is up: the judge's clock starts
    roles.silence()
    for stream, descriptor in enumerate(pipes):
        os.dup2(descriptor, stream)
        os.close(descriptor)
    roles.script(code)


if __name__ == "__main__":
    main(sys.argv[1:])

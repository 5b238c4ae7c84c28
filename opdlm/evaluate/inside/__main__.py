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
from typing import Any

from opdlm.evaluate.inside import judging, roles
from opdlm.evaluate.inside.isolation import HOME, Limits, drop_rights, enter_namespaces


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
    try:
        if order["isolate"]:
            enter_namespaces(limits)
        child = os.fork()
        if child == 0:
            drop_rights(limits)
    except OSError as error:
        os.write(report, json.dumps({"failed": str(error)}).encode())
        os._exit(1)
    if child == 0:
        os.close(lifeline)
        os.close(report)
        _run(order, pipes)
        return
    for descriptor in pipes:
        os.close(descriptor)
    os.write(report, json.dumps({"status": _supervised(child, lifeline)}).encode())
    os._exit(0)


def _supervised(child: int, lifeline: int) -> int:
    """Wait for the end of process 1 or of the lifeline; the exit status, 128 after a signal."""
    ended = os.pidfd_open(child)
    ready = select.poll()
    ready.register(ended, select.POLLIN)
    ready.register(lifeline, select.POLLIN)
    ready.poll()
    # Process 1 of a namespace can be waited for only after every other process of it is gone.
    signal.pidfd_send_signal(ended, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128


def _run(order: dict[str, Any], pipes: list[int]) -> None:
    """Process 1 of the sandbox."""
    os.chdir(HOME)
    os.environ.clear()
    os.environ.update({"HOME": HOME, "PATH": "/usr/bin", "LANG": "C.UTF-8"})
    sys.argv[:] = sys.orig_argv[:] = ["solution.py"]  # a program may look for arguments of its own
    sys.path[:] = [folder for folder in sys.path if os.path.exists(folder)]
    role = order["role"]
    if role == "nothing":  # a try-out of the machine
        return
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

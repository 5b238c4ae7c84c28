"""Rare system calls are refused, ordinary ones are not, and a kernel that cannot filter is no obstacle."""

import platform

import pytest

from opdlm.evaluate.inside import seccomp
from opdlm.evaluate.inside.isolation import UNFILTERED
from opdlm.evaluate.launcher import Launcher
from opdlm.evaluate.sandbox import Outcome, run_stdio, run_tests
from tests.test_sandbox import DOUBLE

needs_known_machine = pytest.mark.skipif(platform.machine() not in seccomp.MACHINES, reason="calls are not known")
COLUMN = seccomp.MACHINES.get(platform.machine(), (0, 0))[0]
TRIED = (
    "ptrace",
    "unshare",
    "mount",
    "bpf",
    "keyctl",
    "process_vm_readv",
    "io_uring_setup",
    "setns",
    "perf_event_open",
)
ATTACK = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    libc.syscall(number, *arguments)
    return ctypes.get_errno()
"""
PERMITTED, REFUSED, ABSENT = 0, 1, 38


def numbers(*arguments: int) -> str:
    """A call with these arguments."""
    return ", ".join(map(str, arguments))


@needs_known_machine
def test_a_program_that_tries_rare_calls_is_refused_and_judged_by_its_output(launcher):
    calls = [seccomp.CALLS[name][COLUMN] for name in TRIED]
    code = ATTACK + f"print([call(number, 0, 0, 0, 0, 0) for number in {calls}])"
    assert run_stdio(launcher, code, b"", 5).stdout.decode().strip() == str([REFUSED] * len(TRIED))
    function = ATTACK + f"def f(x):\n    [call(number, 0, 0, 0, 0, 0) for number in {calls}]\n    return 2 * x"
    assert run_tests(launcher, function, DOUBLE, "f", 5) == Outcome("correct")
    assert run_tests(launcher, function.replace("2 * x", "x"), DOUBLE, "f", 5).reason == "wrong"


@needs_known_machine
@pytest.mark.parametrize(
    ("call", "arguments", "answer"),
    [
        (seccomp.SOCKET, (1, 1, 0), PERMITTED),
        (seccomp.SOCKET, (2, 1, 0), REFUSED),
        (seccomp.SOCKET, (10, 2, 0), REFUSED),
        (seccomp.SOCKET, (16, 3, 0), REFUSED),
        (seccomp.CLONE, (0x10000000 | 17, 0, 0, 0, 0), REFUSED),
        (seccomp.CLONE, (0x00020000 | 17, 0, 0, 0, 0), REFUSED),
        (seccomp.CLONE3, (0, 0), ABSENT),
    ],
)
def test_calls_are_refused_by_their_first_argument(launcher, call, arguments, answer):
    code = ATTACK + f"print(call({numbers(call[COLUMN], *arguments)}))"
    assert run_stdio(launcher, code, b"", 5).stdout.decode().strip() == str(answer)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="an interface of x86-64")
def test_the_other_interface_of_a_machine_is_no_way_around(launcher):
    code = ATTACK + f"print(call({seccomp.X32 | 39}))"
    assert run_stdio(launcher, code, b"", 5).stdout.decode().strip() == str(REFUSED)


def test_processes_threads_and_pipes_work_as_usual(launcher):
    code = """
import os, socket, subprocess, sys, threading
thread = threading.Thread(target=print, args=("thread",))
thread.start()
thread.join()
print(subprocess.check_output([sys.executable, "-S", "-c", "print(3)"], text=True).strip(), flush=True)
if os.fork() == 0:
    os._exit(5)
print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
one, other = socket.socketpair()
one.send(b"socket")
print(other.recv(9).decode())
"""
    assert run_stdio(launcher, code, b"", 10).stdout.decode().split() == ["thread", "3", "5", "socket"]


@pytest.mark.parametrize("machine", seccomp.MACHINES)
def test_every_call_of_the_list_is_looked_for_on_each_machine(machine):
    column = seccomp.MACHINES[machine][0]
    steps = seccomp.instructions(machine, seccomp.CALLS | seccomp.LEAVE_GROUP)
    compared = {step.value for step in steps if step.code == seccomp.EQUAL}
    known = {*seccomp.CALLS.values(), *seccomp.LEAVE_GROUP.values(), seccomp.CLONE, seccomp.CLONE3, seccomp.SOCKET}
    assert {numbers[column] for numbers in known} - {None} <= compared
    assert len(seccomp.CALLS) == len({numbers[0] for numbers in seccomp.CALLS.values()})
    # Whatever the comparisons say, the kernel's machine ends at an answer.
    assert all(place + 1 + max(step.if_true, step.if_false) < len(steps) for place, step in enumerate(steps[:-1]))
    assert steps[-1] == seccomp.Step(seccomp.RETURN, 0, 0, seccomp.ALLOW)


def test_an_unknown_machine_is_an_error():
    with pytest.raises(OSError, match="vax are not known"):
        seccomp.instructions("vax", seccomp.CALLS)


def test_without_a_filter_namespaces_go_on_alone_and_that_is_said_once(monkeypatch, capsys):
    def unfiltered(launcher, really=Launcher._trouble):
        trouble = really(launcher)
        launcher._lacking |= UNFILTERED
        return trouble

    monkeypatch.setattr(Launcher, "_trouble", unfiltered)
    with Launcher() as launcher:
        assert run_tests(launcher, "def f(x): return 2 * x", DOUBLE, "f", 5) == Outcome("correct")
        assert run_tests(launcher, "def f(x): return x", DOUBLE, "f", 5).reason == "wrong"
    said = capsys.readouterr().err
    assert said.startswith("note: this kernel does not filter system calls (seccomp)")
    assert said.count("\n") == 1

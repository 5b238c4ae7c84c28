"""Judging programs that a model wrote, as hostile as they may be.

A program runs in a sandbox of its own (`opdlm.evaluate.inside.isolation` lists what that covers), and so do the tests
of the benchmark. Two pipes join them: the tests' process calls functions of the program through a stand-in, arguments
go in, plain JSON data comes out, and everything else about a test (expected values, loops, tolerances, helper
functions) stays in the tests' process. The verdict is what the tests' process writes on a third pipe, which the
program does not have; no exit status and no output of the program counts. This one way serves every kind of test, so
no assert has to be taken apart. What it costs: a program cannot return objects other than plain data, and what it does
to its arguments is not seen by the tests.

Calls with JSON arguments and results go the same way. A script is judged by its standard output, which the caller
compares.
"""

import os
import select
import time
from dataclasses import dataclass
from io import RawIOBase
from typing import Any, Literal

from opdlm.errors import SandboxError
from opdlm.evaluate.inside.plain import MAX_BYTES, read
from opdlm.evaluate.inside.roles import NOT_PYTHON, OUT_OF_MEMORY
from opdlm.evaluate.launcher import START_SECONDS, Launcher, readable
from opdlm.verdicts import Reason


@dataclass(frozen=True, slots=True)
class Outcome:
    """The judgement of a program: whether all tests held, and if not, why."""

    reason: Reason
    detail: str = ""
    published: bool | None = None
    """Whether all tests hold by the published comparison of outputs and results; none if it says what `reason` says."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a script wrote, and how it ended (`ok` is an exit with status 0; it says nothing about being right)."""

    stdout: bytes
    end: Literal["ok", "timeout", "runtime_error", "syntax_error", "memory", "output_limit"]


def run_tests(launcher: Launcher, code: str, tests: list[str], entry_point: str | None, seconds: float) -> Outcome:
    """Judge a program by Python statements that call its functions.

    Args:
        tests: statements, run in order in one namespace; `candidate` stands for `entry_point`, and a name that the
            tests do not define stands for a function of the program.
        seconds: wall time for loading the program and for all tests, counted from when both sandboxes are up.

    Raises:
        SandboxError: a sandbox could not be set up.
    """
    program = {"role": "program", "code": code, "prelude": False}
    tested = {"role": "tests", "tests": tests, "entry_point": entry_point}
    return _run_pair(launcher, program, tested, seconds, seconds)


def run_calls(launcher: Launcher, code: str, calls: list[tuple[str, str]], name: str, seconds: float) -> Outcome:
    """Judge a program by calls of one function, or of a method of its class `Solution`, up to the first wrong result.

    Args:
        calls: for each call the arguments, one JSON value a line, and the result, a JSON value.
        name: the function.
        seconds: wall time for loading the program, and for each call.

    Raises:
        SandboxError: a sandbox could not be set up.
    """
    program = {"role": "program", "code": code, "prelude": True}
    tested = {"role": "calls", "calls": calls, "name": name}
    return _run_pair(launcher, program, tested, seconds, seconds * (len(calls) + 1))


def _run_pair(
    launcher: Launcher, program: dict[str, Any], tested: dict[str, Any], seconds: float, processor_seconds: float
) -> Outcome:
    """Run a program and its tests, which have `seconds` of wall time between two of their messages."""
    requests_out, requests_in = os.pipe()
    replies_out, replies_in = os.pipe()
    verdict_out, verdict_in = os.pipe()
    with (
        # Without a buffer, or a message could wait in it while the pipe is watched for the next one.
        open(verdict_out, "rb", buffering=0) as verdict,
        launcher.cell(program, [requests_out, replies_in], processor_seconds),
        launcher.cell(tested, [requests_in, replies_out, verdict_in], processor_seconds),
    ):
        up = read(verdict) if readable(verdict_out, time.monotonic() + START_SECONDS) else None
        if not up or not up["up"]:
            raise SandboxError("a sandbox did not start in time")
        message: dict[str, Any] | None = {"test": None}
        place = ""
        while message and "test" in message:
            place = "" if message["test"] is None else f"test {message['test']}: "
            if not readable(verdict_out, time.monotonic() + seconds):
                # A result that came before may have been wrong.
                return (
                    _outcome(message) if "reason" in message else Outcome("timeout", f"{place}more than {seconds:g} s")
                )
            message = read(verdict)
    if message is None:
        return Outcome("wrong", f"{place}the tests' process ended without a verdict")
    return _outcome(message)


def _outcome(message: dict[str, Any]) -> Outcome:
    detail = message["detail"].encode(errors="replace").decode()  # a program's words need not be Unicode
    return Outcome(message["reason"], detail, True if message["published"] else None)


def run_stdio(launcher: Launcher, code: str, stdin: bytes, seconds: float, max_output: int = MAX_BYTES) -> Output:
    """Run a program as a script on the given standard input; at most `max_output` bytes of its output are kept.

    Raises:
        SandboxError: a sandbox could not be set up.
    """
    input_out, input_in = os.pipe()
    output_out, output_in = os.pipe()
    os.set_blocking(input_in, False)
    with (
        open(output_out, "rb"),
        open(input_in, "wb", buffering=0) as sink,
        launcher.cell({"role": "script", "code": code}, [input_out, output_in], seconds) as cell,
    ):
        up = readable(output_out, time.monotonic() + START_SECONDS) and os.read(output_out, 1)
        if up != b"\n":
            raise SandboxError("a sandbox did not start in time")
        deadline = time.monotonic() + seconds
        stdout, end = _talk(sink, output_out, stdin, deadline, max_output)
        if end:
            return Output(stdout, end)
        status = cell.ended(deadline - time.monotonic())
    if status is None:
        return Output(stdout, "timeout")
    if status == NOT_PYTHON:
        return Output(stdout, "syntax_error")
    if status == OUT_OF_MEMORY:
        return Output(stdout, "memory")
    return Output(stdout, "ok" if status == 0 else "runtime_error")


def _talk(
    sink: RawIOBase, source: int, stdin: bytes, deadline: float, max_output: int
) -> tuple[bytes, Literal["timeout", "output_limit"] | None]:
    """Feed a script and read it until it closes its output; `sink` is closed as soon as all is written."""
    output, left = bytearray(), memoryview(stdin)
    poll = select.poll()
    poll.register(source, select.POLLIN)
    poll.register(sink, select.POLLOUT)
    while True:
        if not left and not sink.closed:
            poll.unregister(sink)
            sink.close()
        events = {descriptor for descriptor, _ in poll.poll(max(deadline - time.monotonic(), 0) * 1000)}
        if not events:
            return bytes(output), "timeout"
        if source in events:
            piece = os.read(source, 65536)
            output += piece
            if len(output) > max_output:
                return bytes(output[:max_output]), "output_limit"
            if not piece:
                return bytes(output), None
        if events - {source}:
            try:
                left = left[sink.write(left) or 0 :]
            except BrokenPipeError:  # the program does not want to read it all
                left = left[len(left) :]

"""The three things that run in a sandbox: a program that answers calls, the tests that call it, a program with stdin.

The tests and the program sit in two sandboxes that share nothing but a pair of pipes. Calls with their arguments go
one way, plain data the other. The program never holds an expected value, and the verdict is written by the tests'
process on a pipe that the program does not have.
"""

import ast
import builtins
import os
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

from opdlm.evaluate.inside.plain import TooLarge, decode, encode, read, write

NOT_PYTHON, OUT_OF_MEMORY = 98, 99
"""Exit statuses of a script; a hint for people, since a program can exit with any status."""


def silence() -> None:
    """Point the standard streams to nowhere."""
    nowhere = os.open("/dev/null", os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)


def _add_exit() -> None:
    """`exit` and `quit`, which programs use and the module `site`, left out here, would bring."""
    vars(builtins).update(exit=sys.exit, quit=sys.exit)


def _module(name: str) -> types.ModuleType:
    module = types.ModuleType(name)
    sys.modules[name] = module  # dataclasses and typing look the module of a class up here
    return module


def _failure(error: BaseException) -> dict[str, str]:
    try:
        detail = str(error)[:200]
    except BaseException:  # an exception of the program may do anything in __str__
        detail = ""
    return {"error": type(error).__name__, "detail": detail}


def serve(code: str, requests: BinaryIO, replies: BinaryIO) -> None:
    """Run a program, then call what is asked for until nobody asks any more."""
    write(replies, {"up": True})
    _add_exit()
    module = _module("solution")
    try:
        exec(compile(code, "<program>", "exec"), module.__dict__)
    except BaseException as error:  # SystemExit is a failure like any other
        write(replies, _failure(error))
        return
    write(replies, {"loaded": True})
    while (request := read(requests)) is not None:
        try:
            write(replies, _call(module, request))
        except TooLarge as error:
            write(replies, _failure(error))


def _call(module: types.ModuleType, request: dict[str, Any]) -> dict[str, Any]:
    try:
        function = module.__dict__[request["name"]]
    except KeyError:
        return {"error": "NameError", "detail": f"the program does not define {request['name']}"}
    try:
        value = function(*decode(request["args"]), **decode(request["kwargs"]))
        return {"value": encode(value)}
    except BaseException as error:
        return _failure(error)


class ProgramError(Exception):
    """The program failed, and with no builtin exception that the tests could ask for."""


EXPECTABLE: dict[str, type[Exception]] = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, Exception) and kind is not AssertionError
}
"""Exceptions that pass from a program to its tests, which may ask for them."""


class Failure(NamedTuple):
    """Why a program failed: a reason of `opdlm.records`, and words."""

    reason: str
    detail: str


def _reason(error: str, detail: str) -> Failure:
    if error in ("SyntaxError", "IndentationError", "TabError"):
        return Failure("syntax_error", f"{error}: {detail}")
    if error == "MemoryError":
        return Failure("memory", "the program ran out of memory")
    if error == "TooLarge":
        return Failure("output_limit", detail)
    if error == "NotPlain":
        return Failure("wrong", detail)
    return Failure("runtime_error", f"{error}: {detail}")


class Program:
    """The program of the other sandbox, seen from the tests."""

    def __init__(self, requests: BinaryIO, replies: BinaryIO) -> None:
        self.requests, self.replies = requests, replies
        self.failure: Failure | None = None
        self.raised: Exception | None = None

    def receive(self) -> dict[str, Any]:
        """The next message of the program, whose content can be anything.

        Raises:
            Exception: the program failed; `failure` says why.
        """
        try:
            message = read(self.replies)
        except TooLarge as error:
            raise self._failed(Failure("output_limit", str(error))) from None
        except (ValueError, RecursionError):
            raise self._failed(Failure("wrong", "the program returned no plain data")) from None
        if message is None:
            raise self._failed(Failure("runtime_error", "the program ended before it answered"))
        if "error" in message:
            name, detail = str(message["error"]), str(message.get("detail", ""))
            raise self._failed(_reason(name, detail), name)
        return message

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a function of the program on copies of the arguments."""
        try:
            write(self.requests, {"name": name, "args": encode(list(args)), "kwargs": encode(kwargs)})
        except OSError:
            raise self._failed(Failure("runtime_error", "the program ended before it was called")) from None
        message = self.receive()
        try:
            return decode(message["value"])
        except Exception:  # the program may have written anything in place of what `encode` writes
            raise self._failed(Failure("wrong", "the program returned no plain data")) from None

    def function(self, name: str) -> Callable[..., Any]:
        """A stand-in for a function of the program."""

        def stand_in(*args: Any, **kwargs: Any) -> Any:
            return self.call(name, args, kwargs)

        return stand_in

    def _failed(self, failure: Failure, name: str = "") -> Exception:
        self.failure = failure
        try:
            self.raised = EXPECTABLE.get(name, ProgramError)(failure.detail)
        except TypeError:  # UnicodeDecodeError and the like want other arguments
            self.raised = ProgramError(failure.detail)
        return self.raised


def judge(tests: list[str], entry_point: str | None, requests: BinaryIO, replies: BinaryIO, verdict: BinaryIO) -> None:
    """Run tests against the program of the other sandbox and write the verdict."""
    program = Program(requests, replies)
    try:
        program.receive()
    except Exception:
        write(verdict, {"up": False})
        return
    write(verdict, {"up": True})
    failure = _judged(program, tests, entry_point)
    write(verdict, {"reason": failure.reason, "detail": failure.detail[:300]})


def _judged(program: Program, tests: list[str], entry_point: str | None) -> Failure:
    namespace = _module("tests").__dict__
    names = {"candidate", *unknown_names(tests)} | ({entry_point} if entry_point else set())
    for name in names:
        namespace[name] = program.function(entry_point if name == "candidate" and entry_point else name)
    try:
        program.receive()
        for number, test in enumerate(tests):
            exec(compile(test, f"<test {number}>", "exec"), namespace)
    except BaseException as error:
        if program.failure and error is program.raised:
            return program.failure
        return Failure("wrong", _place(error, tests))
    return Failure("correct", "")


def _place(error: BaseException, tests: list[str]) -> str:
    """The line of the tests that failed."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith("<test ") and frame.lineno:
            line = tests[int(frame.filename[6:-1])].splitlines()[frame.lineno - 1].strip()
            return f"{type(error).__name__} in: {line}"
    return type(error).__name__


def unknown_names(tests: list[str]) -> set[str]:
    """Names that the tests use and do not define: functions that the program has to bring."""
    used: set[str] = set()
    defined = set(dir(builtins))
    for node in (node for test in tests for node in ast.walk(ast.parse(test))):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else defined).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            defined.add(node.name)
        elif isinstance(node, ast.arg):
            defined.add(node.arg)
        elif isinstance(node, ast.alias):
            defined.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            defined.add(node.name)
    return used - defined


def script(code: str) -> None:
    """Run a program as a script, on the standard streams it was given, and end as Python ends one."""
    _add_exit()
    module = _module("__main__")
    try:
        program = compile(code, "<program>", "exec")
    except (SyntaxError, ValueError):
        sys.exit(NOT_PYTHON)
    try:
        exec(program, module.__dict__)
    except MemoryError:
        sys.exit(OUT_OF_MEMORY)

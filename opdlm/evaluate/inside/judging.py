"""What the tests of a benchmark do in their own sandbox: call the program of the other one, compare, give the verdict.

Expected values, loops, tolerances and helper functions stay here; see `roles.py` for the other side.
"""

import ast
import builtins
import importlib
import json
import re
import sys
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

from opdlm.evaluate.inside.plain import TooLarge, decode, encode, read, write
from opdlm.evaluate.inside.roles import new_module

NEAR = 1e-5
"""How far the published comparison of results lets floats be apart."""


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
    published: bool = False
    """Whether the published comparison of results holds all the same."""


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
            raise self._failed(_reason(name, detail), str(message.get("kind", name)))
        return message

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], solution: bool = False) -> Any:
        """Call a function of the program, or with `solution` a method of its class `Solution`, on copies."""
        sent = {"args": encode(list(args)), "kwargs": encode(kwargs)}
        try:
            write(self.requests, {"name": name, "solution": solution, **sent})
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

    def _failed(self, failure: Failure, kind: str = "") -> Exception:
        self.failure = failure
        try:
            self.raised = EXPECTABLE.get(kind, ProgramError)(failure.detail)
        except TypeError:  # UnicodeDecodeError and the like want other arguments
            self.raised = ProgramError(failure.detail)
        return self.raised


def judge(order: dict[str, Any], requests: BinaryIO, replies: BinaryIO, verdict: BinaryIO) -> None:
    """Run tests against the program of the other sandbox and write the verdict."""
    program = Program(requests, replies)
    try:
        program.receive()
    except Exception:
        write(verdict, {"up": False})
        return
    write(verdict, {"up": True})
    if order["role"] == "calls":
        failure = _called(program, order["calls"], order["name"], verdict)
    else:
        failure = _judged(program, order["tests"], order["entry_point"])
    write(verdict, _told(failure))


def _told(failure: Failure) -> dict[str, Any]:
    return {"reason": failure.reason, "detail": failure.detail[:300], "published": failure.published}


def _called(program: Program, calls: list[tuple[str, str]], name: str, verdict: BinaryIO) -> Failure:
    """Compare the results of calls; each is announced, since each has a time of its own.

    The first wrong one decides. Calls go on behind it as long as the published comparison takes the results for right.
    """
    place, wrong = "", None
    try:
        program.receive()
        for number, (given, expected) in enumerate(calls):
            place = f"test {number}: "
            write(verdict, {"test": number, **(_told(wrong) if wrong else {})})
            value, wanted = program.call(name, tuple(arguments(given)), {}, solution=True), json.loads(expected)
            if not wrong and not same(value, wanted):
                wrong = Failure("wrong", f"{place}{_shown(value)} is not {expected.strip()[:100]}")
            if wrong and not same_as_published(value, wanted):
                return wrong
    except Exception as error:
        if not program.failure or error is not program.raised:
            raise
        return wrong or Failure(program.failure.reason, place + program.failure.detail)
    return wrong._replace(published=True) if wrong else Failure("correct", "")


def arguments(text: str) -> list[Any]:
    """The arguments of a call, one JSON value a line."""
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def same(value: Any, expected: Any) -> bool:
    """Whether a result is equal to a JSON value, tuples counting as lists, and all of a list having to be there."""
    try:
        return bool(_listed(value) == expected)
    except RecursionError:
        return False


def same_as_published(value: Any, expected: Any) -> bool:
    """Whether LiveCodeBench's former grader takes a result for right: also the first element in place of the list, and
    floats that are near (spec 3.3.14)."""
    try:
        value = _listed(value)
        first = expected[0] if isinstance(expected, list) and expected else expected
        return bool(value in (expected, first)) or _near(value, expected)
    except RecursionError:
        return False


def _near(value: Any, expected: Any) -> bool:
    if isinstance(value, list) and isinstance(expected, list):
        return len(value) == len(expected) and all(map(_near, value, expected))
    if (isinstance(value, int | float) and isinstance(expected, float)) or isinstance(value, float):
        return isinstance(expected, int | float) and abs(value - expected) <= NEAR
    return bool(value == expected)


def _listed(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_listed(item) for item in value]
    return {key: _listed(item) for key, item in value.items()} if isinstance(value, dict) else value


def _shown(value: Any) -> str:
    try:
        return repr(value)[:100]
    except (ValueError, RecursionError):  # Python refuses to print integers of more than 4300 digits
        return "the result"


def _judged(program: Program, tests: list[str], entry_point: str | None) -> Failure:
    namespace = new_module("tests").__dict__
    unknown = unknown_names(tests)
    modules = {name for name in unknown if _is_module(name, tests)}  # MBPP+ leaves `import math` to the program
    namespace.update({name: importlib.import_module(name) for name in modules})
    wanted = {entry_point} if entry_point else unknown - modules or the_builtin(tests)
    for name in {"candidate", *unknown, *wanted} - modules:
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


def _is_module(name: str, tests: list[str]) -> bool:
    """Whether tests mean a module of the standard library: there is one, and they use it with a dot."""
    return name in sys.stdlib_module_names and any(re.search(rf"\b{name}\.[a-z]", test) for test in tests)


def _place(error: BaseException, tests: list[str]) -> str:
    """The line of the tests that failed."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith("<test ") and frame.lineno:
            line = tests[int(frame.filename[6:-1])].splitlines()[frame.lineno - 1].strip()
            return f"{type(error).__name__} in: {line}"
    return type(error).__name__


def the_builtin(tests: list[str]) -> set[str]:
    """The one builtin that tests call, if it is one: the program's own function of that name (`sum` of MBPP)."""
    calls = (node.func for test in tests for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Call))
    names = {function.id for function in calls if isinstance(function, ast.Name)}
    return names if len(names) == 1 and names <= set(dir(builtins)) else set()


def unknown_names(tests: list[str]) -> set[str]:
    """Names that the tests use and do not define: functions that the program has to bring, or modules."""
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

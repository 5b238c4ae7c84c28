"""What a program does in its sandbox: answer calls, or run as a script on standard input.

The tests that call it sit in another sandbox (`judging.py`), and the two share nothing but a pair of pipes. Calls with
their arguments go one way, plain data the other. The program never holds an expected value, and the verdict is written
by the tests' process on a pipe that the program does not have.
"""

import builtins
import os
import sys
import types
from typing import Any, BinaryIO

from opdlm.evaluate.inside.plain import TooLarge, decode, encode, read, write

NOT_PYTHON, OUT_OF_MEMORY = 98, 99
"""Exit statuses of a script; a hint for people, since a program can exit with any status."""
PRELUDE = """
from string import *; from re import *; from datetime import *; from collections import *; from heapq import *
from bisect import *; from copy import *; from math import *; from random import *; from statistics import *
from itertools import *; from functools import *; from operator import *; from io import *; from sys import *
from json import *; from builtins import *; from typing import *
import string, re, datetime, collections, heapq, bisect, copy, math, random, statistics, itertools, functools
import operator, io, sys, json
sys.setrecursionlimit(50000)
"""
"""What LiveCodeBench's grader puts in front of a program: the code that its tasks start from imports nothing."""


def silence() -> None:
    """Point the standard streams to nowhere."""
    nowhere = os.open("/dev/null", os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)


def add_exit() -> None:
    """`exit` and `quit`, which programs use and the module `site`, left out here, would bring."""
    vars(builtins).update(exit=sys.exit, quit=sys.exit)


def new_module(name: str) -> types.ModuleType:
    """An empty module that can be imported by its name."""
    module = types.ModuleType(name)
    sys.modules[name] = module  # dataclasses and typing look the module of a class up here
    return module


def _failure(error: BaseException) -> dict[str, str]:
    try:
        detail = str(error)[:200]
    except BaseException:  # an exception of the program may do anything in __str__
        detail = ""
    known = (base.__name__ for base in type(error).__mro__ if getattr(builtins, base.__name__, None) is base)
    return {"error": type(error).__name__, "kind": next(known), "detail": detail}


def serve(code: str, prelude: bool, requests: BinaryIO, replies: BinaryIO) -> None:
    """Run a program, after `PRELUDE` if that is wished, then call what is asked for until nobody asks any more."""
    module = new_module("solution")
    if prelude:
        exec(PRELUDE, module.__dict__)
    add_exit()
    write(replies, {"up": True})  # what comes now is the program's own time
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
        function = _found(module, request["name"], request["solution"])
        value = function(*decode(request["args"]), **decode(request["kwargs"]))
        return {"value": encode(value)}
    except BaseException as error:
        return _failure(error)


def _found(module: types.ModuleType, name: str, solution: bool) -> Any:
    """A function of the program, or with `solution` a method of a new `Solution`, if there is such a class."""
    if solution and "Solution" in module.__dict__:
        return getattr(module.__dict__["Solution"](), name)
    if name not in module.__dict__:
        raise NameError(f"the program does not define {name}")
    return module.__dict__[name]


def script(code: str) -> None:
    """Run a program as a script, on the standard streams it was given, and end as Python ends one."""
    add_exit()
    module = new_module("__main__")
    try:
        program = compile(code, "<program>", "exec")
    except (SyntaxError, ValueError):
        sys.exit(NOT_PYTHON)
    try:
        exec(program, module.__dict__)
    except MemoryError:
        sys.exit(OUT_OF_MEMORY)

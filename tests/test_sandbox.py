"""Programs get a true verdict, whatever they try, and nothing is left of them."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from opdlm.evaluate.sandbox import Outcome, run_calls, run_tests

DOUBLE = ["assert f(3) == 6", "assert f(-1) == -2"]
WITH_NUMPY = "import numpy as np\ndef f(x): return np.sum(np.array([x, x]) @ np.eye(2, dtype=int))"


@pytest.mark.parametrize(
    ("code", "tests"),
    [
        ("def f(x): return 2 * x", DOUBLE),
        ("def f(x): return 2 * x", ["assert candidate(3) == 6"]),
        (WITH_NUMPY, DOUBLE),
        ("def f(x): return x / 3", ["import numpy as np", "assert np.allclose(f(1), 1 / 3, rtol=1e-7, atol=0)"]),
        ("import numpy as np\ndef f(x): return [np.float64(x), np.bool_(x)]", ["assert f(1) == [1.0, True]"]),
        ("def f(x): return x > 1", ["assert f(2) is True", "assert not f(0)", "assert f(2)"]),
        ("def f(x): return x / 3", ["import math", "assert abs(f(1) - 0.3333333) < 1e-6 and math.isclose(f(3), 1)"]),
        ("def f(x): return None", ["assert f(1) is None"]),
        ("def f(x): return (x, [x], {x}, {x: 1.5}, 'é', b'1', 2j)", ["assert f(1) == (1,[1],{1},{1:1.5},'é',b'1',2j)"]),
        ("def f(x): return 7 ** x", ["assert f(9000) == 7 ** 9000"]),
        ("from collections import Counter\ndef f(x): return Counter(x)", ["assert f('aab') == {'a': 2, 'b': 1}"]),
        ("def f(x): return float('nan')", ["y = f(1)", "assert y != y"]),
        ("def g(x): return 1\ndef f(x): return 2", ["assert f(g(0)) == 2", "assert g(1) == 1"]),
        ("def f(x, *, y=1): return x + y", ["assert f(1, y=5) == 6", "assert all(f(n) == n + 1 for n in range(3))"]),
        ("def f(x): raise KeyError(x)", ["try:\n    f(1)\nexcept KeyError:\n    pass\nelse:\n    assert False"]),
        (
            "class Odd(ValueError): pass\ndef f(x): raise Odd('no ' + str(x))",
            ["try:\n    f(1)\nexcept ValueError as error:\n    assert 'no 1' in str(error)\nelse:\n    assert False"],
        ),
        (
            "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: 'int'\ndef f(x): return P(x).x",
            ["assert f(1)"],
        ),
        ("import sys\nsys.setrecursionlimit(9000)\ndef f(x): return x and 1 + f(x - 1)", ["assert f(3000) == 3000"]),
        (
            "import re\ndef f(x): return re.search('b', x)",
            ["assert f('abc')", "assert not f('xyz')", "assert f('b') != 1"],
        ),
        (
            "from collections import defaultdict\ndef f(x): return defaultdict(list, {x: [1]})",
            ["assert f(2) == {2: [1]}"],
        ),
        ("def f(x): return x ** 0.5", ["assert math.isclose(f(2), 1.41421356, rel_tol=1e-6)"]),
        ("import math\ndef f(x): return math.pi", ["assert f(0) == math.pi", "assert sys.getsizeof(f(0))"]),
        (
            "import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()\ndef f(x): return 1",
            ["assert f(0)"],
        ),
        ("if __name__ == '__main__':\n    raise SystemExit\ndef f(x): return 1", ["assert f(0)"]),
        (
            "def f(x):\n    yield x\n    yield 2",
            ["assert set(f(1)) == {1, 2} and next(f(1)) == 1", "assert f(1) != [1, 2]"],
        ),
        ("def f(x): return filter(None, x)", ["assert list(f([0, 1])) == [1]"]),
        ("def f(x): return {x: 2}.keys()", ["assert sorted(f(1)) == [1]"]),
        ("from fractions import Fraction\ndef f(x): return Fraction(x, 2)", ["assert f(1) == 0.5", "assert f(2) == 1"]),
        ("from decimal import Decimal\ndef f(x): return [Decimal('0.5')]", ["assert f(1) == [0.5]"]),
        ("def f(x, kind): return [y for y in x if type(y) != kind]", ["assert f([1, 2.0], int) == [2.0]"]),
        ("def f(n): return [1.5] * n", ["assert f(10 ** 6) == [1.5] * 10 ** 6"]),
    ],
)
def test_right_programs_pass(launcher, code, tests):
    assert run_tests(launcher, code, tests, "f", 5).reason == "correct"


@pytest.mark.parametrize(("value", "reason"), [("a + b", "correct"), ("a - b", "wrong")])
def test_a_function_may_have_the_name_of_a_builtin(launcher, value, reason):
    tests = ["assert sum(10, 15) == 25", "assert sum(1, 2) == 3"]
    assert run_tests(launcher, f"def sum(a, b): return {value}", tests, None, 5).reason == reason


def test_builtins_of_the_tests_are_their_own(launcher):
    program = "def f(x): return 1\ndef abs(x): return 0\ndef sum(x): return 6"
    assert run_tests(launcher, program, ["assert abs(f(1) - 2) < 1e-6"], None, 5).reason == "wrong"
    assert run_tests(launcher, program, ["assert sum([f(1)]) == 6"], "f", 5).reason == "wrong"


EQUAL = "class E:\n    def __eq__(s, o): return True\n    def __bool__(s): return True\n"
INT = "class E(int):\n    def __eq__(s, o): return True\n    __hash__ = int.__hash__\n"
KILL = "import os\nfor n in (-1, 0, 1):\n    try: os.kill(n, 9)\n    except OSError: pass\n"
FORGED = (
    "import os, sys, json\n"
    "for fd in range(3, 64):\n"
    "    for text in ({'reason': 'correct', 'detail': ''}, {'value': True}, [1], 'x' * 9):\n"
    "        try: os.write(fd, json.dumps(text).encode() + b'\\n')\n"
    "        except OSError: pass\n"
)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def f(x): return x", "wrong"),
        ("class Solution:\n    def f(self, x): return 2 * x", "runtime_error"),
        ("def g(x): return x", "runtime_error"),
        ("f = 3", "runtime_error"),
        ("def f(x) return x", "syntax_error"),
        ("import numpy_that_is_not_there", "runtime_error"),
        ("raise SystemExit(0)", "runtime_error"),
        ("def f(x): raise SystemExit(0)", "runtime_error"),
        ("import os\nos._exit(0)", "runtime_error"),
        ("import os\ndef f(x): os._exit(0)", "runtime_error"),
        ("def f(x): raise AssertionError", "runtime_error"),
        ("def f(x): return f(x + 1)", "runtime_error"),
        ("import sys\nsys.setrecursionlimit(10**9)\ndef f(x): return eval('f(x)')", "runtime_error"),
        (EQUAL + "def f(x): return E()", "wrong"),
        (EQUAL + "def f(x): return [E()]", "wrong"),
        (INT + "def f(x): return E(0)", "wrong"),
        ("def f(x):\n    a = []\n    a.append(a)\n    return a", "wrong"),
        ("def f(x): return 'A' * (20 << 20)", "output_limit"),
        ("def f(x): return bytearray(1 << 40)", "memory"),
        ("a = []\nwhile True: a.append(bytearray(64 << 20))", "memory"),
        ("while True: pass", "timeout"),
        ("def f(x):\n    while True: pass", "timeout"),
        ("sum(range(10**13))", "timeout"),
        ("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", "timeout"),
        ("import time\ndef f(x): time.sleep(60)", "timeout"),
        (KILL + "def f(x): return 0", "wrong"),
        ("print('PASS')\ndef f(x): return print('correct')", "wrong"),
        (FORGED + "def f(x): return 0", "wrong"),
        ('import json\njson.dumps = lambda *a, **k: \'{"reason": "correct"}\'\ndef f(x): return 0', "wrong"),
    ],
)
def test_programs_fail_for_the_reason_they_have(launcher, code, reason):
    started = time.monotonic()
    assert run_tests(launcher, code, DOUBLE, "f", 0.5 if reason == "timeout" else 5).reason == reason
    assert time.monotonic() - started < 12
    wait_until(lambda: not descendants(launcher._starter.pid))


def test_a_value_of_no_plain_type_is_named(launcher):
    assert "a E is not plain" in run_tests(launcher, EQUAL + "def f(x): return E()", DOUBLE, "f", 5).detail


def test_what_a_program_says_can_be_written_to_a_file(launcher):
    outcome = run_tests(launcher, "def f(x): raise ValueError(chr(0xD800))", DOUBLE, "f", 5)
    assert outcome == Outcome("runtime_error", "ValueError: ?")


def test_a_failed_test_is_quoted(launcher):
    assert "assert f(-1) == -2" in run_tests(launcher, "def f(x): return 6", DOUBLE, "f", 5).detail


def test_expected_values_are_not_in_the_program_s_process(launcher):
    search = (
        "import gc, sys\n"
        "def f(x):\n"
        "    frame, seen = sys._getframe(), []\n"
        "    while frame:\n"
        "        seen += [repr(frame.f_locals), repr(frame.f_globals)]\n"
        "        frame = frame.f_back\n"
        "    seen += [repr(o) for o in gc.get_objects() if type(o) in (dict, list, tuple)]\n"
        "    return ''.join(['9173', '46205']) in ''.join(seen)\n"
    )
    assert run_tests(launcher, search, ["assert f(1) != 917346205", "assert f(2) == False"], "f", 5).reason == "correct"


@pytest.mark.parametrize(
    ("code", "calls"),
    [
        ("def f(x, y): return x + y", [("1\n2", "3"), ('"a"\n"b"', '"ab"')]),
        ("class Solution:\n    def f(self, x: List[int]) -> int: return sum(x)", [("[1, 2]", "3"), ("[]\n", "0")]),
        (
            "class Solution:\n    def f(self): return ((1, 2), [3.0], None, {'a': (True,)})",
            [("", '[[1,2],[3],null,{"a":[true]}]')],
        ),
        ("from __future__ import annotations\ndef f(x): return Counter(x)", [('"aab"', '{"a": 2, "b": 1}')]),
        (
            "class Solution:\n    n = 0\n    def f(self):\n        self.n += 1\n        return self.n",
            [("", "1"), ("", "1")],
        ),
        ("def f(n): return n and 1 + f(n - 1)", [("20000", "20000")]),
    ],
)
def test_right_results_of_calls_pass(launcher, code, calls):
    assert run_calls(launcher, code, calls, "f", 5) == Outcome("correct")


@pytest.mark.parametrize(
    ("code", "reason", "detail"),
    [
        ("def f(x): return [x]", "wrong", r"test 0: \[1\] is not \[1, 2\]"),
        ("def f(x): return [1, 2, 3]", "wrong", "test 0: .* is not"),
        ("def f(x): return [1, 2] if x == 1 else [2, 2]", "wrong", r"test 1: \[2, 2\] is not \[2, 4\]"),
        ("def f(x): return {1, 2}", "wrong", "test 0: {1, 2} is not"),
        ("def f(x): return 10 ** 10000", "wrong", "test 0: the result is not"),
        ("def f(x): return float('nan')", "wrong", "test 0: nan is not"),
        ("class Solution:\n    pass\ndef f(x): return [x, 2 * x]", "runtime_error", "test 0: AttributeError"),
        ("class Solution:\n    f = 3", "runtime_error", "test 0: TypeError"),
        ("def g(x): return x", "runtime_error", "test 0: NameError: the program does not define f"),
        ("def f(x): return [x, 2 * x] if x == 1 else 1 / 0", "runtime_error", "test 1: ZeroDivisionError"),
        ("def f(x) return x", "syntax_error", "SyntaxError"),
        ("while True: pass", "timeout", "more than 0.5 s"),
        ("def f(x):\n    while x > 1: pass\n    return [1, 2]", "timeout", "test 1: more than 0.5 s"),
        ("def f(x): return bytearray(1 << 40)", "memory", "test 0: "),
        ("def f(x): return 'A' * (20 << 20)", "output_limit", "test 0: "),
        ("import os\ndef f(x): os._exit(0)", "runtime_error", "test 0: the program ended"),
    ],
)
def test_calls_fail_for_the_reason_and_at_the_test_they_do(launcher, code, reason, detail):
    outcome = run_calls(launcher, code, [("1", "[1, 2]"), ("2", "[2, 4]")], "f", 0.5)
    assert outcome.reason == reason
    assert re.match(detail, outcome.detail), outcome.detail


def test_each_call_has_the_time_that_all_python_tests_share(launcher):
    """Three waits of 0.4 s in 1 s each, and all together."""
    wait = "import time\ndef f(x):\n    time.sleep(0.4)\n    return x"
    assert run_calls(launcher, wait, [("1", "1")] * 3, "f", 1).reason == "correct"
    assert run_tests(launcher, wait, ["assert f(1) == 1"] * 3, "f", 1).reason == "timeout"


def test_nothing_is_left_when_the_judge_is_killed():
    script = (
        "from opdlm.evaluate.launcher import Launcher\nfrom opdlm.evaluate.sandbox import run_tests\n"
        "with Launcher() as launcher:\n    print(launcher._starter.pid, flush=True)\n"
        "    run_tests(launcher, 'import os\\nos.fork()\\nwhile True: pass', ['f(1)'], 'f', 60)\n"
    )
    judge = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    starter = int(judge.stdout.readline())
    wait_until(lambda: len(descendants(starter)) >= 5)
    left = [starter, *descendants(starter)]
    judge.send_signal(signal.SIGKILL)
    judge.communicate()
    wait_until(lambda: not any(alive(process) for process in left))


def descendants(process: int) -> list[int]:
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [found for child in children for found in (int(child), *descendants(int(child)))]


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)

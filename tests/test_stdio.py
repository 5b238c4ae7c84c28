"""Scripts are judged by what they write, read as each contest reads it; wrong ones fail, and the reason is told."""

import base64
import json
import pickletools
import zlib
from pathlib import Path

import pytest

from opdlm.data.readers.code import codeforces as read_codeforces
from opdlm.data.readers.livecodebench import judged as cases_of_livecodebench
from opdlm.data.readers.records import Record
from opdlm.data.rows import Row
from opdlm.errors import DataError
from opdlm.evaluate.launcher import Launcher
from opdlm.evaluate.sandbox import Outcome
from opdlm.evaluate.scorers import code
from opdlm.evaluate.scorers.stdio import run_cases, same_lines, same_tokens
from opdlm.records import Sample

BENCHMARKS = Path(__file__).parents[2] / "shared" / "bench_data"
CODEFORCES = BENCHMARKS / "codeforces_standin" / "code_eval_code_contests.jsonl"
LIVECODEBENCH = BENCHMARKS / "livecodebench_sample" / "code_eval_live_code_bench_v1.jsonl"
needs_benchmarks = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the benchmark files are not here")
MEGABYTE = 1 << 20


def judged(row: Row, *programs: str) -> list[str]:
    texts = [f"So:\n```python\n{program}\n```\n" for program in programs]
    samples = [Sample(index=0, seed=0, prompt_tokens=0, ids=[], steps=[], text=text, finish="stop") for text in texts]
    return [verdict.reason for verdict in code.score([row], samples)]


@pytest.mark.parametrize(
    "program",
    [
        "print(sum(map(int, open(0).read().split())))",
        "import sys\nprint(sum(int(word) for word in sys.stdin.buffer.read().split()))",
        "import os\nprint(sum(map(int, os.read(0, 1 << 16).split())))",
        "import sys\ninput()\nprint(1 + sum(int(line) for line in sys.stdin))",
        "import sys\na = sys.stdin.readline()\nprint(int(a) + int(input()) + int(sys.stdin.buffer.readline() or 3))",
        "import io, os, sys\nsys.stdin = io.BytesIO(os.read(0, 99))\nprint(sum(map(int, sys.stdin.readlines())))",
        "import sys\nr = sys.stdin.buffer.readline\nsys.stdout.buffer.write(b'%d' % sum(map(int, [r(), r(), r()])))",
        "import os, sys\nos.write(1, str(sum(map(int, sys.stdin.fileno() == 0 and sys.stdin))).encode())",
        "import fileinput\nprint(sum(int(line) for line in fileinput.input()))",
        "import threading, sys\nsys.setrecursionlimit(10 ** 6)\nthreading.stack_size(1 << 26)\n"
        "threading.Thread(target=lambda: print(sum(int(input()) for _ in range(3)))).start()",
        "if __name__ == '__main__':\n    print(int(input()) + int(input()) + int(input()))\n    exit()",
    ],
)
def test_programs_read_and_write_in_any_way(launcher, program):
    assert run_cases(launcher, program, [("1\n2\n3\n", "6\n")], 5) == Outcome("correct")


@pytest.mark.parametrize(
    ("program", "reason", "detail"),
    [
        ("print(int(input()))", "wrong", "test 1: '2\\n' is not '4\\n'"),
        ("print(int(input()) ** 2 or 1 / 0)", "runtime_error", "test 2"),
        ("x = int(input())\nwhile x > 1: pass\nprint(x)", "timeout", "test 1"),
        ("x = int(input())\nprint('1' * (x - 1) * 20_000_000 or 1)", "output_limit", "test 1"),
        ("x = int(input())\nbytearray((x - 1) << 40)\nprint(x)", "memory", "test 1"),
        ("print(", "syntax_error", "test 0"),
        ("import sys\nsys.exit(0)", "wrong", "test 0: '' is not '1\\n'"),
        ("import os\nprint(1, flush=True)\nos._exit(3)", "runtime_error", "test 0"),
    ],
)
def test_the_first_test_that_fails_is_named_with_its_reason(launcher, program, reason, detail):
    cases = [("1\n", "1\n"), ("2\n", "4\n"), ("0\n", "0\n")]
    assert run_cases(launcher, program, cases, 1) == Outcome(reason, detail)


def test_megabytes_come_in_and_out(launcher):
    text = "7 " * MEGABYTE
    assert run_cases(launcher, "print(input())", [(text, text)], 10).reason == "correct"
    longer = "8" * (9 * MEGABYTE)  # more than is read of a program whose output should be short
    assert run_cases(launcher, "print('8' * (9 << 20))", [("", longer)], 10).reason == "correct"
    assert run_cases(launcher, "print('8' * (17 << 20))", [("", "8")], 10).reason == "output_limit"


def test_each_input_has_the_whole_time(launcher):
    wait = "import time\ntime.sleep(0.4)\nprint(input())"
    assert run_cases(launcher, wait, [("1", "1")] * 3, 1).reason == "correct"


def test_one_input_sees_nothing_of_the_one_before(launcher):
    program = "import os\nprint(len(os.listdir()), len(os.listdir('/tmp')))\nopen('a', 'w')\nopen('/tmp/a', 'w')"
    assert run_cases(launcher, program, [("", "0 0")] * 2, 5).reason == "correct"


@pytest.mark.parametrize(
    ("actual", "expected", "by_tokens", "by_lines"),
    [
        ("1 2\n3\n", "1 2\n3", True, True),
        ("1  2 \r\n3", "1 2\n3\n", True, True),
        (" 1 2.0 \n\n", "1 2", False, True),
        ("1\n2\n3", "1 2 3", True, False),
        ("1\n\n2", "1\n2", True, False),
        ("1.50 2", "1.5 2.0", False, True),
        ("1e2\nYES", "100\nYES", False, True),
        ("1.5 2", "1.5", False, False),
        ("1.5", "1.5 2", False, False),
        ("yes", "YES", False, False),
        ("1.5000001", "1.5", False, False),
        ("", "0", False, False),
        ("", "", True, True),
        ("nan", "nan", True, True),
        ("sNaN", "NaN", False, False),
        ("1 YES", "1.0 YES", False, False),
        ("1e999999999999", "1", False, False),
    ],
)
def test_codeforces_compares_words_and_livecodebench_lines_of_decimals(actual, expected, by_tokens, by_lines):
    assert (same_tokens(actual, expected), same_lines(actual, expected)) == (by_tokens, by_lines)


@pytest.mark.parametrize(("printed", "reasons"), [("'1 2'", ["correct", "wrong"]), ("'1\\n2.0'", ["wrong", "correct"])])
def test_a_row_says_how_its_outputs_are_compared(printed, reasons):
    rows = [
        Row(question="q", test_method="stdio", test_input=[""], test_output=["1\n2"], comparison=comparison)
        for comparison in ("tokens", "lines")
    ]
    assert [judged(row, f"print({printed})")[0] for row in rows] == reasons


def test_readers_say_how_outputs_are_compared():
    assert cases_of_livecodebench(["1"], ["2"], None)["comparison"] == "lines"
    problem = {"input_mode": "stdio", "executable": True, "id": "1/A", "title": "A", "description": "b"}
    problem["official_tests"] = [{"input": "1", "output": "2"}]
    assert read_codeforces(Record(Path("f"), "row 1", problem))["comparison"] == "tokens"
    assert Row(question="published rows of scripts").comparison == "tokens"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"test_method": "stdio"}, "has no tests"),
        ({"test_method": "stdio", "test_input": ["1"], "test_output": []}, "1 test_input but 0 test_output"),
        ({"test_method": "call", "test_input": ["1"], "test_output": ["1"]}, "no entry_point"),
        (
            {"test_method": "call", "test_input": ["1"], "test_output": ["1 2"], "entry_point": "f"},
            "arguments or result of a test are not JSON",
        ),
    ],
)
def test_rows_without_usable_tests_are_errors(fields, message):
    with pytest.raises(DataError, match=f"row 0 .*{message}"):
        judged(Row(question="q", **fields), "print(1)")


def test_what_ran_out_of_time_is_run_once_more_when_the_others_are_through(monkeypatch):
    runs, kept = [], []

    def outcome(launcher: Launcher, row: Row, program: str) -> Outcome:
        runs.append(program)
        return Outcome("timeout" if "late" in program and runs.count(program) == 1 else "correct")

    monkeypatch.setattr(code, "_outcome", outcome)
    row = Row(question="q", test_method="stdio", test_input=["1"], test_output=["1"])
    samples = [
        Sample(index=0, seed=0, prompt_tokens=0, ids=[], steps=[], text=f"```python\n{text}\n```", finish="stop")
        for text in ("late", "b", "c")
    ]
    assert [verdict.reason for verdict in code.score([row], samples, kept.append)] == ["correct"] * 3
    assert sorted(runs) == ["b", "c", "late", "late"]
    assert runs[-1] == "late"
    assert [verdict.reason for verdict in kept] == ["correct"] * 3


# Real problems


def codeforces(number: int) -> Row:
    with open(CODEFORCES, encoding="utf-8") as stream:
        problem = [json.loads(line) for line in stream][number]
    tests = json.loads(problem["test"])
    return Row(
        question=problem["content"],
        test_method="stdio",
        test_input=[test["input"]["stdin"] for test in tests[:12]],
        test_output=[test["output"]["stdout"] for test in tests[:12]],
    )


def livecodebench(identifier: int) -> Row:
    """A row of the sample; its tests are a pickle, out of which the JSON text is read without running it."""
    with open(LIVECODEBENCH, encoding="utf-8") as stream:
        problem = next(row for row in map(json.loads, stream) if row["id"] == identifier)
    steps = pickletools.genops(zlib.decompress(base64.b64decode(problem["test"])))
    [text] = [content for step, content, _ in steps if step.name == "BINUNICODE"]
    tests = json.loads(text)
    return Row(
        question=problem["content"],
        entry_point=tests["fn_name"],
        test_method="call" if tests["fn_name"] else "stdio",
        test_input=tests["inputs"],
        test_output=tests["outputs"],
        comparison="lines",
        test_time_limit=6,
    )


SHIRTS = """from collections import Counter
n = int(input())
old, new = ([input() for _ in range(n)] for _ in range(2))
print(sum((Counter(old) - Counter(new)).values()))"""
TREES = """import sys
n, k = map(int, sys.stdin.readline().split())
root = list(range(n + 1))
def find(x):
    while root[x] != x:
        root[x] = root[root[x]]
        x = root[x]
    return x
for line in sys.stdin:
    a, b, black = map(int, line.split())
    if not black:
        root[find(a)] = find(b)
sizes = [0] * (n + 1)
for x in range(1, n + 1):
    sizes[find(x)] += 1
print((n ** k - sum(size ** k for size in sizes)) % (10 ** 9 + 7))"""
MONSTERS = """import sys
data = list(map(int, sys.stdin.buffer.read().split()))
place = 1
for _ in range(data[0]):
    n, r = data[place:place + 2]
    monsters = sorted(set(data[place + 2:place + 2 + n]), reverse=True)
    place += 2 + n
    print(sum(monster - r * shot > 0 for shot, monster in enumerate(monsters)))"""


@needs_benchmarks
@pytest.mark.parametrize(
    ("number", "program", "old", "new"),
    [
        (3, SHIRTS, "old) - Counter(new", "set(old)) - Counter(new"),
        (9, TREES, "if not black", "if black"),
        (14, MONSTERS, "r * shot", "shot"),
    ],
)
def test_contest_problems_are_judged(number, program, old, new):
    assert judged(codeforces(number), program, program.replace(old, new)) == ["correct", "wrong"]


@needs_benchmarks
@pytest.mark.parametrize(
    ("identifier", "program", "old", "new"),
    [
        (1, "for _ in range(int(input())):\n    print('NO' if input() in ('bca', 'cab') else 'YES')", "'cab'", "'abc'"),
        (
            10,
            "class Solution:\n    def countSeniors(self, details: List[str]) -> int:\n"
            "        return sum(int(d[11:13]) > 60 for d in details)",
            "> 60",
            ">= 60",
        ),
        (
            191,
            "n = int(input())\ns = input()\na, t = s.count('A'), s.count('T')\n"
            "print('T' if t > a or t == a and s[-1] == 'A' else 'A')",
            "s[-1] == 'A'",
            "s[-1] == 'T'",
        ),
    ],
)
def test_livecodebench_problems_are_judged(identifier, program, old, new):
    assert judged(livecodebench(identifier), program, program.replace(old, new)) == ["correct", "wrong"]

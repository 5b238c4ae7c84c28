"""Programs are found in answers as models write them, and each benchmark's harness judges those the same."""

import pytest

from opdlm.data.rows import Row
from opdlm.evaluate.scorers import code, programs
from opdlm.records import Sample
from opdlm.verdicts import Verdict

QUESTION = (
    'from typing import List\n\n\ndef total(numbers: List[int]) -> int:\n    """ Sum of the even ones.\n    """\n'
)
EVALPLUS = Row(
    question=QUESTION,
    task_id="HumanEval/999",
    entry_point="total",
    test_list=["assert candidate([1, 2, 4]) == 6", "assert candidate([]) == 0"],
)
RIGHT = "def total(numbers):\n    chosen = [n for n in numbers if n % 2 == 0]\n    return sum(chosen)"
WRONG = "def total(numbers):\n    return sum(numbers)"
STUB = "def total(numbers):\n    pass"
SHORT = "def total(numbers):\n    return sum(n for n in numbers if n % 2 == 0)"


def fenced(program: str, language: str = "python") -> str:
    return f"```{language}\n{program}\n```"


def judged(row: Row, text: str, finish: str = "stop") -> Verdict:
    answer = Sample(index=0, seed=0, prompt_tokens=0, ids=[], steps=[], text=text, finish=finish)
    return code.score([row], [answer])[0]


GOOD = "def f(x):\n    return 2 * x"


@pytest.mark.parametrize(
    "text",
    [
        f"Sure:\n```python\n{GOOD}\n```\nDone.",
        f"```\n{GOOD}\n```",
        f"```python\n{GOOD}",
        f"{GOOD}\n```\nThis doubles.",
        f"{GOOD}\n```\nUsage:\n```python\nprint(f(1))\n```",
        GOOD,
        f"```python\nimport os\n```\nthen\n```python\n{GOOD}\n```",
        f"```bash\npip install x\n```\n```py\n{GOOD}\n```",
    ],
)
def test_the_program_is_found_in_an_answer(text):
    assert programs.extract(text, "f").strip() == GOOD


@pytest.mark.parametrize("text", ["", "I cannot.", "Use `f`, it doubles.", "```python\n```"])
def test_prose_is_no_program(text):
    assert programs.extract(text, "f") is None


def test_without_an_entry_point_all_python_blocks_make_the_program():
    assert programs.extract("```python\na = 1\n```\n```\nno\n```\n```python\nb = 2\n```", None) == "a = 1\n\nb = 2"


SCRIPTS = "First try:\n```python\nprint(1)\n```\nBetter:\n```python\nprint(2)\n```\n"


@pytest.mark.parametrize(
    ("text", "program"),
    [
        (SCRIPTS, "print(2)"),
        (SCRIPTS + "This prints\n```\n2\n```\n", "print(2)"),
        ("```python\nprint(2)", "print(2)"),
        ("```\nprint(1)\n```\n```\nprint(2)\n```", "print(2)"),
        ("import sys\nprint(2)", "import sys\nprint(2)"),
    ],
)
def test_of_several_scripts_the_last_is_meant(text, program):
    assert programs.extract(text, None, last=True) == program


def test_of_several_blocks_with_the_method_the_last_is_meant():
    draft, final = ("class Solution:\n    def f(self, x):\n        return " + value for value in ("1", "2"))
    text = f"```python\n{draft}\n```\nNo:\n```python\n{final}\n```\nUse it:\n```python\nprint(Solution().f(1))\n```"
    assert programs.extract(text, "f", last=True) == final
    assert programs.extract(text, "f") == draft


@pytest.mark.parametrize(
    "text",
    [
        fenced(f"{RIGHT}\n\nassert total([2]) == 3\nprint('passed')"),
        fenced(f"{RIGHT}\n\nprint(total(None))"),
        fenced(f"{RIGHT}\n\nlength = int(input('How many? '))\nprint(total(range(length)))"),
        fenced(f"{RIGHT}\n\nprint(total([2]))\nexit()"),
        fenced(f"{RIGHT}\n\nimport unittest\n\nunittest.main()"),
        fenced(f"{RIGHT}\n\nwhile True:\n    pass"),
        fenced(f"import missing_package as mp\n{RIGHT}"),
        fenced(f"from __future__ import annotations\n{RIGHT}\nassert False"),
        fenced(f"import sys\nsys.setrecursionlimit(5000)\n{RIGHT}"),
        fenced(f"{RIGHT}\n\nclass TestTotal(unittest.TestCase):\n    pass"),
        fenced(f"{RIGHT}\n\n@pytest.mark.slow\ndef test_total():\n    pass"),
        f"{RIGHT}\n\nThis sums the even numbers, doesn't it?\n```\n",
        f"{RIGHT}\n\n\ndef test_total():\n    assert total([1, 2,",
        f'{RIGHT}\n\n\ndef test_total():\n    """Tests that the',
        f"Sure, here's the function.\n\n{RIGHT}\n\nIt's linear in the length.",
        f"Here is the code: ```python\n{RIGHT}\n```\n",
        f"A first try:\n{fenced(WRONG)}\nThat counts odd ones. Now all of it:\n{fenced(RIGHT)}",
        f"We fill in this:\n{fenced(STUB)}\nThat gives\n{fenced(RIGHT)}",
        f"<think>\n{fenced(WRONG + chr(10) * 2 + '# a' + chr(10) + '# b')}\n</think>\n{fenced(SHORT)}",
        "    chosen = [n for n in numbers if n % 2 == 0]\n    return sum(chosen)\n",
        "    return sum(n for n in numbers if n % 2 == 0)\n\n\nif __name__ == '__main__':\n    print(total([1,",
        fenced("    return sum(n for n in numbers if n % 2 == 0)"),
    ],
)
def test_around_a_right_function_anything_may_stand(text):
    assert judged(EVALPLUS, text).reason == "correct"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (fenced(f"{WRONG}\nexit()"), "wrong"),
        (fenced(f"{WRONG}\n\ntry:\n    exit()\nfinally:\n    raise SystemExit"), "wrong"),
        (fenced(f"{WRONG}\n\nThis doesn't work."), "wrong"),
        (f"{fenced(RIGHT)}\nAll of it:\n{fenced(WRONG + chr(10) + '# one' + chr(10) + '# two')}", "wrong"),
        ("    return sum(numbers)\n", "wrong"),
        ("    I would sum them up, wouldn't I?\n", "no_answer"),
        ("    return (sum(numbers)", "no_answer"),
        (fenced("def total(numbers):\n    return (sum(numbers)"), "syntax_error"),
        (fenced(RIGHT.replace("total", "even_total")), "runtime_error"),
        (fenced(f"{WRONG}\n\nprint({' + '.join(['1'] * 3000)})\nx = {' + '.join(['one'] * 3000)}"), "runtime_error"),
        (fenced(f"import missing_package as mp\n{RIGHT.replace('sum', 'mp.sum')}"), "runtime_error"),
    ],
)
def test_a_wrong_function_is_not_helped_by_it(text, reason):
    assert judged(EVALPLUS, text).reason == reason


def test_the_published_verdict_is_still_on_the_whole_program():
    verdict = judged(EVALPLUS, fenced(f"{RIGHT}\n\nassert total([2]) == 3"))
    assert (verdict.correct, verdict.published) == (True, False)


@pytest.mark.parametrize("text", [f"{RIGHT}\n\nexit()", f"{RIGHT}\n\nassert total([2]) == 3", f"{RIGHT}\n\nIt's done."])
def test_other_function_rows_run_the_whole_program(text):
    row = EVALPLUS.model_copy(update={"task_id": "mbpp-like/1"})
    assert not judged(row, fenced(text)).correct
    assert judged(row, fenced(RIGHT)).correct


def test_statements_that_a_function_needs_are_kept():
    table = "table = [0]\nfor n in range(9):\n    table.append(table[-1] + n)\ntable.reverse()"
    program = f"{table}\n\ndef total(numbers):\n    return table[0] and sum(n for n in numbers if n % 2 == 0)"
    assert judged(EVALPLUS, fenced(program)).correct


def test_a_program_of_definitions_is_left_as_it_is():
    program = "import math\nFIX = '''a'''\n\n# a comment\ndef total(numbers):\n    return 0\n\nclass A:\n    pass"
    assert programs.program(EVALPLUS, fenced(program)) == program


@pytest.mark.timeout(20)
@pytest.mark.parametrize("line", ["    x = (1 +", "It's so.", "def g():", "'''", "x = [", "total(numbers)", "{"])
def test_an_answer_that_only_repeats_itself_is_read_in_seconds(line):
    programs.program(EVALPLUS, f"{RIGHT}\n" + f"{line}\n" * 3000)
    programs.program(EVALPLUS, f"{line}\n" * 3000 + RIGHT)


# Scripts

ADD = "a = int(input())\nb = int(input())\nprint(a + b)"


def script_row(comparison: str) -> Row:
    return Row(question="q", test_method="stdio", test_input=["1\n2\n"], test_output=["3\n"], comparison=comparison)


@pytest.mark.parametrize("comparison", ["tokens", "lines"])
@pytest.mark.parametrize(
    "text",
    [
        f"### Answer: ```python\n{ADD}\n```",
        f"<think>\n{fenced('print(4)')}\n</think>\n{fenced(ADD)}",
        ADD,
        f"from sys import stdin\n{ADD}",
        fenced(ADD).replace("\n", "\r\n"),
        f"First:\n{fenced('print(0)')}\nBetter:\n{fenced(ADD, 'Python3')}",
    ],
)
def test_scripts_are_found_however_they_are_fenced(text, comparison):
    assert judged(script_row(comparison), text).reason == "correct"


@pytest.mark.parametrize("text", ["3", "Three", "I cannot do that.", ""])
def test_a_text_that_calls_nothing_is_no_script(text):
    assert judged(script_row("lines"), text).reason == "no_answer"


DEEP = "def depth(n):\n    return n and 1 + depth(n - 1)\n\nassert depth(20000) == 20000\n"
GRANTED = {
    "modules": f"queue = deque([1])\nmost = math.inf\nrest: List[int] = []\n{ADD}",
    "sys": "print(sum(map(int, sys.stdin.read().split())))",
    "recursion": DEEP + ADD,
    "return": f"{ADD}\nif a:\n    return",
    "nonlocal": f"count = 0\n\ndef more():\n    nonlocal count\n    count += 1\n\nmore()\n{ADD}",
    "status": f"import sys\n{ADD}\nsys.exit(1)",
}


@pytest.mark.parametrize("program", GRANTED.values(), ids=GRANTED)
def test_livecodebench_grants_scripts_more_than_python_does(program):
    assert judged(script_row("lines"), fenced(program)).reason == "correct"
    assert not judged(script_row("tokens"), fenced(program)).correct


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (f"print(nothing)\n{ADD}", "runtime_error"),
        (f"{ADD}\n1 / 0", "runtime_error"),
        (f"print(\n{ADD}", "syntax_error"),
        ("import sys\nsys.exit(0)", "wrong"),
        (f"{DEEP}print(2)", "wrong"),
    ],
)
def test_other_scripts_still_fail_there(program, reason):
    assert judged(script_row("lines"), fenced(program)).reason == reason


@pytest.mark.parametrize("program", [f"count = 0\ndef g():\n    global count\n{ADD}", f"max = max(1, 2)\n{ADD}"])
def test_what_only_a_function_would_break_is_right(program):
    """LiveCodeBench makes a function of a script, in which these fail; on the contests' own judges they do not."""
    assert judged(script_row("lines"), fenced(program)).reason == "correct"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("endless", ["lorem ipsum ", "We add them.\n", " ", "x = 1\n", "```\n"])
def test_a_program_is_found_in_front_of_an_endless_rest(endless: str) -> None:
    found = programs.program(EVALPLUS, f"{fenced(RIGHT)}\n{endless * (300_000 // len(endless))}")
    assert found is not None
    assert "def total" in found

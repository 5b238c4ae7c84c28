"""Right answers score, in every plausible wording; wrong, absent and cut-off ones do not, and the reason is told."""

import json
import random
import re
import threading
from pathlib import Path

import pytest

from opdlm.config.data import Source
from opdlm.data.rows import Row
from opdlm.data.sources import read_file
from opdlm.errors import DataError
from opdlm.evaluate.scorers import code, math, programs
from opdlm.evaluate.scorers.registry import SCORERS
from opdlm.records import Sample

BENCHMARKS = Path(__file__).parents[2] / "shared" / "bench_data"
FILES = {
    "gsm8k": "gsm8k/test.jsonl",
    "math500": "math500/test.jsonl",
    "mmlu": "mmlu/mmlu.zip",
}
needs_benchmarks = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the benchmark files are not here")


def sample(text: str, index: int = 0, finish: str = "stop") -> Sample:
    return Sample(index=index, seed=0, prompt_tokens=1, ids=[1], steps=[0], text=text, finish=finish)


def reason(kind: str, row: Row, text: str, finish: str = "stop") -> str:
    return SCORERS[kind]([row], [sample(text, finish=finish)])[0].reason


def public(layout: str) -> list[Row]:
    return read_file(Source(layout=layout, file=FILES[layout]), BENCHMARKS / FILES[layout], None)


def judged(kind: str, rows: list[Row], texts: list[str]) -> list[int]:
    """Indices of the rows whose answers are correct."""
    verdicts = SCORERS[kind](rows, [sample(text, index) for index, text in enumerate(texts)])
    assert [verdict.index for verdict in verdicts] == list(range(len(rows)))
    assert all(verdict.score == float(verdict.correct) for verdict in verdicts)
    return [verdict.index for verdict in verdicts if verdict.correct]


# Mathematics


@pytest.mark.parametrize(
    ("gold", "text"),
    [
        ("70", "\\boxed{12}. No wait, \\boxed{70}"),
        ("025", "\\boxed{25}"),
        ("25", "\\boxed{025}"),
        ("70.0", "$\\boxed{70}$"),
        ("-3", "\\boxed{-3.0}"),
        ("70000", "\\boxed{70\\,000}"),
        ("70000", "\\boxed{70,000}"),
        ("70000", "\\boxed{70 000}"),
        ("10000", "\\boxed{10{,}000}"),
        ("42", "\\boxed{٤٢}"),
        ("42", "\\boxed{４２}"),
        ("42", "\\boxed{४२}"),
        ("7", "\\fbox{7}"),
        ("7", "\\boxed {x = 7}"),
        ("18", "\\boxed{18 \\text{ dollars}}"),
        ("18", "\\boxed{\\$18}"),
        ("\\frac{1}{2}", "\\boxed{0.5}"),
        ("\\left( 3, \\frac{\\pi}{2} \\right)", "\\boxed{(3, \\pi/2)}"),
        ("\\{1, 2\\}", "thus \\boxed{\\left\\{2,1\\right\\}}, as \\{ shows"),
        ("5", "\\boxed{5} and then cut: \\boxed{7"),
        ("025", "\\boxed{\\text{25}}"),
        ("3\\sqrt{13}", "\\boxed{\\mathbf{3\\sqrt{13}}.}"),
        ("11,\\! 111,\\! 100", "\\boxed{x = 11{,}111{,}100}"),
        ("\\text{east}", "\\boxed{\\text{east}}"),
        ("\\text{east}", "\\boxed{{\\text{east}}}"),
        ("90", "\\boxed{90°}"),
        ("-5", "\\boxed{–5}"),
        ("18", "\\boxed{€18}"),
        ("18", "\\boxed{18 dollars}"),
        ("18", "\\boxed{\\text{18 miles per hour}}"),
        ("5.4 \\text{ cents}", "\\boxed{\\,5.4\\,}"),
        ("\\frac{3}{2}", "\\boxed{1 1/2}"),
        ("10", "\\boxed{\\boldsymbol{10},}"),
        ("\\emptyset", "\\boxed{\\varnothing}"),
        ("2516_8", "\\boxed{2516_{8}}"),
        ("2516_8", "\\boxed{2516}"),
    ],
)
def test_equal_expressions_are_correct(gold, text):
    assert reason("math", Row(question="q", ground_truth_answer=gold), text) == "correct"


@pytest.mark.parametrize(
    ("text", "finish", "expected"),
    [
        ("see problem 70", "stop", "no_answer"),
        ("so 70 and on", "length", "truncated"),
        ("\\boxed{70", "length", "truncated"),
        ("\\boxed{}", "stop", "no_answer"),
        ("\\boxed{70} since", "length", "correct"),
        ("\\boxed{70}. No wait, \\boxed{12}", "stop", "wrong"),
        ("\\boxed{\\frac{}{}^^_}", "stop", "wrong"),
        ("\\boxed{70" + "0" * 5000 + "}", "stop", "wrong"),
        ("\\boxed{\\text{east}}", "stop", "wrong"),
        ("", "stop", "no_answer"),
    ],
)
def test_other_answers_are_not(text, finish, expected):
    assert reason("math", Row(question="q", ground_truth_answer="70"), text, finish) == expected


@pytest.mark.parametrize(
    ("gold", "text"),
    [
        ("\\frac{11}{2}", "\\boxed{1 1/2}"),
        ("5", "\\boxed{5 million}"),
        ("5", "\\boxed{5 or 6}"),
        ("1", "\\boxed{1 hour and 30 minutes}"),
        ("2516_8", "\\boxed{2516_9}"),
    ],
)
def test_expressions_that_only_look_alike_are_wrong(gold, text):
    assert reason("math", Row(question="q", ground_truth_answer=gold), text) == "wrong"


MARKED = [
    ("1234", "It weighs 617 * 2 = <<617*2=1234>>1234 g.\n#### 1,234"),
    ("1234", "It weighs <<617*2=1234>>1234 g.\nA: 1234"),
    ("18", '```json\n{\n  "reasoning": "9 + 9 = 18\\n",\n  "answer": "18 dollars"\n}\n```'),
    ("\\frac{1}{2}", '{"answer": "\\\\frac{1}{2}"}'),
    ("\\frac{1}{2}", "Final Answer: The final answer is $\\frac{1}{2}$. I hope it is correct."),
    ("18", "### Final Answer\n\n**$18**"),
    ("18", "**Answer:** 3 * 6 = 18 apples"),
    ("18", "Answer: 17\nNo.\nAnswer: 18"),
    ("18", "#### 18\nI hope that the final answer helps."),
    ("(1,2)", "Answer: (1, 2)"),
    ("18", "The answer is **18**."),
    ("18", "So the answer is 18 apples."),
]


@pytest.mark.parametrize(("gold", "text"), MARKED)
def test_a_finished_answer_may_mark_its_result_without_a_box(gold, text):
    row = Row(question="q", ground_truth_answer=gold)
    assert reason("math", row, text) == "correct"
    assert reason("math", row, text, "length") == "truncated"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The final answer will follow from 18 apples.", "no_answer"),
        ("Answer: not 18", "no_answer"),
        ("Answer: 12, then 18", "wrong"),
        ("\\boxed{17}\nAnswer: 18", "wrong"),
        ("#### " * 40_000 + "18", "correct"),
    ],
)
def test_a_number_near_a_mark_is_not_always_the_result(text, expected):
    assert reason("math", Row(question="q", ground_truth_answer="18"), text) == expected


def test_the_math_scorer_works_off_the_main_thread():
    row = Row(question="q", ground_truth_answer="\\frac12")
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(reason("math", row, "\\boxed{\\frac{2}{4}}")))
    thread.start()
    thread.join()
    assert found == ["correct"]


def test_an_answer_that_hangs_is_ended_and_the_next_is_judged(monkeypatch):
    monkeypatch.setattr(math, "SECONDS", 2.0)
    monkeypatch.setattr(math, "PUBLISHED_SECONDS", 2.0)
    rows = [Row(question="q", ground_truth_answer="2")] * 4
    texts = ["\\boxed{9^{9^{9^{9}}}}", "\\boxed{((((2^{99999999}))))!}", "\\boxed{1000000!}", "\\boxed{2}"]
    assert judged("math", rows, texts) == [3]


def test_a_gold_answer_that_cannot_be_read_is_an_error():
    with pytest.raises(DataError, match="ground truth"):
        reason("math", Row(question="q", ground_truth_answer=""), "\\boxed{1}")


@needs_benchmarks
@pytest.mark.parametrize("layout", ["gsm8k", "math500"])
def test_every_published_answer_is_correct_and_shuffled_ones_are_not(layout):
    rows = public(layout)
    texts = [f"First 3 of \\boxed{{}}, so\n\\[ \\boxed{{{row.ground_truth_answer}}} \\]\n" for row in rows]
    assert judged("math", rows, texts) == list(range(len(rows)))
    golds = [row.ground_truth_answer for row in rows]
    random.Random(0).shuffle(golds)
    equal = [index for index, row in enumerate(rows) if golds[index] == row.ground_truth_answer]
    assert judged("math", rows, [f"\\boxed{{{gold}}}" for gold in golds]) == equal
    assert len(equal) < 0.03 * len(rows)


@needs_benchmarks
def test_the_published_solutions_of_math500_are_correct():
    with open(BENCHMARKS / FILES["math500"], encoding="utf-8") as stream:
        solutions = [json.loads(line)["solution"] for line in stream]
    assert len(judged("math", public("math500"), solutions)) == 500


# Multiple choice; see test_choice.py for the ways of saying so


@pytest.mark.parametrize(
    ("text", "finish", "expected"),
    [
        ('"answer": "B"', "stop", "correct"),
        ('"answer": "B" and more', "length", "correct"),
        ('"answer": "D"', "stop", "wrong"),
        ("Let us see", "stop", "no_answer"),
        ("Let us see", "length", "truncated"),
    ],
)
def test_choices_are_judged(text, finish, expected):
    assert reason("choice", Row(question="q", ground_truth_answer="B", options=4), text, finish) == expected


@needs_benchmarks
def test_mmlu_golds_are_correct_and_shuffled_ones_score_by_chance():
    rows = public("mmlu")
    golds = [row.ground_truth_answer for row in rows]
    for wording in ('A is false. "answer": "{}"', "Not A. The answer is ({}).", "\\boxed{{{}}}", "答案是{}。"):
        assert len(judged("choice", rows, [wording.format(gold) for gold in golds])) == 14042
    random.Random(0).shuffle(golds)
    assert 0.23 < len(judged("choice", rows, [f'"answer": "{gold}"' for gold in golds])) / 14042 < 0.27


# Code

GOOD = "def f(x):\n    return 2 * x"
CODE_ROW = Row(question="Double.", entry_point="f", test_list=["assert f(2) == 4"], test_time_limit=2)


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
    ("value", "correct", "detail"),
    [
        ("2 * x", True, "plus: passed"),
        ("4", True, "plus: failed; wrong, AssertionError in: assert f.3. == 6"),
        ("1 // (3 - x) and 4", True, "plus: failed; runtime_error, ZeroDivisionError.*"),
        ("3", False, "plus: failed; AssertionError in: assert f.2. == 4"),
    ],
)
def test_further_tests_are_told_apart_and_do_not_decide(value, correct, detail):
    row = CODE_ROW.model_copy(update={"plus_test_list": ["assert f(3) == 6"]})
    [verdict] = code.score([row], [sample(f"```python\ndef f(x):\n    return {value}\n```")])
    assert verdict.correct == correct
    assert re.fullmatch(detail, verdict.detail)


@pytest.mark.parametrize(
    ("text", "finish", "expected"),
    [
        (f"```python\n{GOOD}\n```", "stop", "correct"),
        (f"```python\n{GOOD}", "length", "correct"),
        ("```python\ndef f(x):\n    return (2 *", "length", "truncated"),
        ("```python\ndef f(x):\n    return (2 *\n```", "stop", "syntax_error"),
        ("Let me think", "length", "truncated"),
        ("No idea.", "stop", "no_answer"),
        ("```python\ndef f(x):\n    return 3\n```", "stop", "wrong"),
        ("```python\ndef f(x):\n    return y\n```", "stop", "runtime_error"),
        ("```python\ndef f(x):\n    while True: pass\n```", "stop", "timeout"),
    ],
)
def test_programs_are_judged(text, finish, expected):
    assert reason("code", CODE_ROW, text, finish) == expected


@pytest.mark.parametrize("tests", [[], ["assert f("]])
def test_a_row_without_usable_tests_is_an_error_and_not_a_pass(tests):
    with pytest.raises(DataError, match="row 0"):
        reason("code", Row(question="q", entry_point="f", test_list=tests), GOOD)

"""Results are equal to the right ones in every plausible wording, and those that only look alike are not."""

import json
import random
import threading

import pytest

from opdlm.data.rows import Row
from opdlm.errors import DataError
from opdlm.evaluate.scorers import math
from tests.readers import BENCHMARKS, needs_benchmarks
from tests.test_scorers import FILES, judged, public, reason


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


@pytest.mark.timeout(60)
def test_an_answer_of_boxes_without_end_is_read() -> None:
    assert math.final_answer("\\boxed{" * 30_000) is None

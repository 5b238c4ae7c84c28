"""Beside each verdict stands what the published harness would have said, faults included. Here the two differ."""

import json

import pytest

from opdlm.data.rows import Row
from opdlm.evaluate.scorers import code, published, published_code
from opdlm.evaluate.scorers.registry import SCORERS
from opdlm.records import Sample
from opdlm.verdicts import Verdict


def judged(kind: str, row: Row, text: str, finish: str = "stop", steps: tuple[int, ...] = (1, 1)) -> tuple[bool, bool]:
    """Whether we count an answer as correct, and whether the published harness does."""
    sample = Sample(index=0, seed=0, prompt_tokens=1, ids=[1] * len(steps), steps=[*steps], text=text, finish=finish)
    [verdict] = SCORERS[kind]([row], [sample])
    return verdict.correct, verdict.published


OURS, THEIRS, BOTH, NEITHER = (True, False), (False, True), (True, True), (False, False)


# Multiple choice


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"answer": "C"', BOTH),
        ("The answer is (C).", BOTH),
        ('{"answer": "D"}', NEITHER),
        ("答案是C", OURS),
        ("选C。", OURS),
        ("정답은 C입니다", OURS),
        ("The answer is C, not D. Then: answer: D", NEITHER),
        ("Answer: Cannot be determined", THEIRS),
        ("\\boxed{can be either}", THEIRS),
        ("It may be A, B or C", THEIRS),
        ('My choice. "answer": "D"\nAs you said, e.g., "answer": "C"', THEIRS),
        ("", NEITHER),
    ],
)
def test_letters_have_no_right_boundary_and_chinese_hides_them(text, expected):
    assert judged("choice", Row(question="Which?", ground_truth_answer="(C)", options=4), text) == expected


def test_letters_are_bounded_by_the_options_for_english_sets_only():
    english, chinese = (
        Row(question=question, ground_truth_answer="C", options=4) for question in ("Why C or α?", "为什么")
    )
    text = "It is C, I think."
    assert judged("choice", english.model_copy(update={"question": "Why?"}), text) == THEIRS
    assert judged("choice", chinese, text) == NEITHER
    assert published.letters([english, *[english.model_copy(update={"question": "Why?"})] * 2]) == "ABCD"
    assert published.letters([chinese]) == published.letters([Row(question="?")]) == "ABCDEFGHIJ"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("unit", [" ", "\n", "answer", "answer ", "answer is ", "\\boxed{", "\\boxed{\\text", "(", "A"])
def test_an_answer_that_only_repeats_itself_is_read_at_once(unit):
    published.letter("answer " + unit * (200_000 // len(unit)), "ABCD")


# ZebraLogic

GRID = {"House 1": {"Name": "Eric", "Pet": "cat"}, "House 2": {"Name": "Arnold", "Pet": "dog"}}
WRONG = {**GRID, "House 2": {"Name": "Arnold", "Pet": "fish"}}
ZEBRA = Row(
    question="Who?",
    ground_truth_answer=json.dumps(
        {"header": ["House", "Name", "Pet"], "rows": [["1", "Eric", "cat"], ["2", "Arnold", "dog"]]}
    ),
)


def fenced(grid: object) -> str:
    return f"```json\n{json.dumps({'solution': grid})}\n```\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (fenced(GRID), BOTH),
        (json.dumps({"reasoning": "So.", "solution": GRID}), BOTH),
        (fenced(WRONG), NEITHER),
        (fenced(WRONG) + "No:\n" + fenced(GRID), OURS),
        (fenced(GRID) + "No:\n" + fenced(WRONG), THEIRS),
        ("The set {a, b}. " + json.dumps({"solution": GRID}), OURS),
        ("```\nclue 1\n```\n" + fenced(GRID), OURS),
        (json.dumps(GRID), THEIRS),
        (json.dumps({"solution": [*GRID.values()]}), THEIRS),
        (fenced({"House 1": {"First Name": "eric ", "PET": "Cat"}, "The House 2": GRID["House 2"]}), THEIRS),
        (fenced({"House 1": GRID["House 1"]}), NEITHER),
        ("[" * 100_000, NEITHER),
        ("", NEITHER),
    ],
)
def test_the_first_fenced_json_counts_and_names_need_not_be_whole(text, expected):
    assert judged("zebra", ZEBRA, text) == expected


# Instructions


@pytest.mark.parametrize(
    ("finish", "steps", "expected"),
    [
        ("stop", (1, 1, 2), OURS),
        ("stop", (2, 1, 3), OURS),
        ("stop", (), OURS),
        ("length", (1, 1, 2), BOTH),
        ("stop", (1, 2, 3), BOTH),
    ],
)
def test_block_diffusion_keeps_its_end_token_and_autoregression_does_not(finish, steps, expected):
    row = Row(question="q", instruction_id_list=["startend:quotation"], kwargs=[{}])
    assert judged("ifeval", row, '"I see."', finish, steps) == expected


def test_an_empty_answer_that_ends_is_not_empty_there():
    row = Row(question="q", instruction_id_list=["punctuation:no_comma"], kwargs=[{}])
    assert judged("ifeval", row, "") == THEIRS
    assert judged("ifeval", row, "", "length") == NEITHER


# Mathematics


@pytest.mark.parametrize(
    ("gold", "text", "expected"),
    [
        ("18", "So \\boxed{18}.", BOTH),
        ("18", "So \\boxed{17}.", NEITHER),
        ("70", "\\boxed{12}. No wait, \\boxed{70}", OURS),
        ("70000", "\\boxed{70\\,000}", OURS),
        ("42", "\\boxed{٤٢}", OURS),
        ("70", "see problem 70", THEIRS),
        ("18", "The answer is **18**.", OURS),
        ("18", "", NEITHER),
    ],
)
def test_the_whole_text_is_read_and_goes_through_text(gold, text, expected):
    assert judged("math", Row(question="q", ground_truth_answer=gold), text) == expected


# Programs


def answer(*programs: str) -> str:
    return "\n".join(f"Try:\n```python\n{program}\n```" for program in programs)


def function(task_id: str | None = None) -> Row:
    return Row(question="q", task_id=task_id, entry_point="f", test_list=["assert f(2) == 4"], test_time_limit=2)


YIELDS = "def pairs(x):\n    yield x\n    yield x\ndef f(x):\n    return sum(pairs(x))"
RETURNS = YIELDS.replace("yield x\n    yield x", "return [x, x]")


@pytest.mark.parametrize(
    ("row", "text", "expected"),
    [
        (function(), answer("exit()"), THEIRS),
        (function(), answer("def f(x):\n    raise SystemExit(1)"), THEIRS),
        (function(), answer("import os\nos._exit(0)"), NEITHER),
        (function("HumanEval/0"), answer("exit()"), NEITHER),
        (function("HumanEval/0"), answer(RETURNS), BOTH),
        (function("Mbpp/630"), answer(YIELDS), OURS),
        (function(), answer(YIELDS), BOTH),
        (function(), "", NEITHER),
    ],
)
def test_an_exit_passes_and_evalplus_drops_helpers_that_return_nothing(row, text, expected):
    assert judged("code", row, text) == expected


def script(comparison: str = "tokens", *outputs: str) -> Row:
    given = {"test_input": ["1"] * len(outputs), "test_output": [*outputs]}
    return Row(question="q", test_method="stdio", comparison=comparison, test_time_limit=2, **given)


READS_BYTES = "import sys\nprint(sys.stdin.buffer.read().decode())"


@pytest.mark.parametrize(
    ("row", "text", "expected"),
    [
        (script("tokens", "1"), answer("print(input())"), BOTH),
        (script("tokens", "1"), answer(READS_BYTES), OURS),
        (script("tokens", "1"), answer("print(open(0).read())"), OURS),
        (script("tokens", "1" * 70_000), answer("print('1' * 70_000)"), OURS),
        (script("tokens", "2"), answer("print(1)", "print(2)"), OURS),
        (script("tokens", "1 2"), answer("print(1)", "print(2)"), THEIRS),
        (script("tokens", "1"), answer("exit()"), NEITHER),
        (script("lines", "1"), answer("print(input())"), BOTH),
        (script("lines", "1"), answer("print(open(0).read())"), BOTH),
        (script("lines", "1"), answer(READS_BYTES), OURS),
        (script("lines", "1 2"), answer("print('2 1')"), THEIRS),
        (script("lines", "1 2", "3"), answer("print('2 1')"), NEITHER),
        (script("lines", "0.3"), answer("print(0.1 + 0.2)"), THEIRS),
        (script("lines", "YES\n2.0"), answer("print('YES', 2, sep='\\n')"), OURS),
        (script("lines", "1"), answer("print(1)") + "\nIt prints\n```\n1\n```", OURS),
        (script("lines", "1"), "import os\nprint(1)", OURS),
        (script("lines", "1"), "```\nprint(1)", OURS),
    ],
)
def test_scripts_meet_the_faults_of_their_runner(row, text, expected):
    assert judged("code", row, text) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("[x, 2.0]", BOTH),
        ("(x, 2.0)", BOTH),
        ("x", THEIRS),
        ("[x, 2.000001]", THEIRS),
        ("[x, 2.1]", NEITHER),
        ("[x] if x == 3 else x", NEITHER),
        ("x if x == 1 else 1 / 0", NEITHER),
    ],
)
def test_calls_may_return_the_first_element_alone_or_floats_that_are_near(value, expected):
    calls = {"test_input": ["1", "3"], "test_output": ["[1, 2.0]", "[3, 2.0]"]}
    row = Row(question="q", test_method="call", entry_point="f", comparison="lines", test_time_limit=2, **calls)
    assert judged("code", row, answer(f"def f(x):\n    return {value}")) == expected


def test_the_first_wrong_result_is_told_also_if_a_later_call_never_ends():
    calls = {"test_input": ["1", "3"], "test_output": ["[1]", "[3]"]}
    row = Row(question="q", test_method="call", entry_point="f", comparison="lines", test_time_limit=0.5, **calls)
    text = answer("def f(x):\n    while x > 1: pass\n    return x")
    sample = Sample(index=0, seed=0, prompt_tokens=1, ids=[], steps=[], text=text, finish="stop")
    [verdict] = code.score([row], [sample])
    assert (verdict.reason, verdict.published, verdict.detail) == ("wrong", False, "test 0: 1 is not [1]")


def test_the_program_stands_between_the_last_two_fences():
    assert published_code.between_last_fences("a\n```python\nb\n```\nc\n``` d\ne\n```") == "e"
    assert published_code.between_last_fences("a\n```python\nb") is None


def test_programs_of_livebench_are_judged_by_its_own_rule():
    row = script("lines", "1 2").model_copy(update={"livebench_category": "coding", "livebench_task": "LCB_generation"})
    assert judged("livebench", row, answer("print('2 1')")) == NEITHER
    assert judged("livebench", row, answer("print('1 2')") + "\nIt prints\n```\n1 2\n```") == BOTH


def test_partial_credit_is_counted_above_one_half():
    half, more = (Verdict(index=0, correct=share > 0.5, score=share, reason="wrong") for share in (0.5, 0.6))
    assert (half.published, more.published) == (False, True)

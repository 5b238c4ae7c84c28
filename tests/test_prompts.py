"""Prompts are worded as the published evaluation words them."""

from opdlm.config.prompts import WORDINGS
from opdlm.data.prompts import messages
from opdlm.data.rows import Row

ROW = Row(question="What is 1+1?")


def test_raw_is_the_question_alone():
    assert messages(ROW, WORDINGS["raw"]) == [{"role": "user", "content": "What is 1+1?"}]


def test_math_asks_for_steps_and_a_box():
    assert messages(ROW, WORDINGS["math"])[0]["content"] == (
        "What is 1+1?\nPlease reason step by step, and put your final answer within \\boxed{}."
    )


def test_choice_asks_for_the_answer_field_and_keeps_the_question_as_it_is():
    row = Row(question="Name (E)-2-butene.\nA. x\nB. y", options=2)
    assert messages(row, WORDINGS["choice"])[0]["content"] == (
        "Name (E)-2-butene.\nA. x\nB. y\n"
        'Please show your choice in the answer field with only the choice letter, e.g., "answer": "C".'
    )


def test_humaneval_prefill_ends_inside_an_opened_fence():
    user, assistant = messages(Row(question='def f(x):\n    """Double."""\n'), WORDINGS["humaneval"])
    assert (user["role"], assistant["role"]) == ("user", "assistant")
    assert user["content"] == (
        "Please provide a self-contained Python script that solves the following problem in a markdown code block:\n"
        '```\ndef f(x):\n    """Double."""\n```\n'
    )
    assert assistant["content"] == (
        "Below is a Python script with a self-contained function that solves the problem and passes corresponding "
        "tests:\n```python\n"
    )


def test_training_prompts_are_worded_by_their_domain():
    for domain, kind in [("math", "math"), ("science", "choice"), ("code", "raw"), ("chat", "raw"), (None, "math")]:
        row = Row(question="What is 1+1?", domain=domain)
        assert messages(row, WORDINGS["domain"]) == messages(row, WORDINGS[kind])

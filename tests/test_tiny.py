"""The tiny tasks have right answers and disjoint splits, and their tokenizer is Qwen3's in small."""

import re
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.pre_tokenizers import ByteLevel

from opdlm.chat import Message, answer_text, render, stop_ids
from opdlm.config.evaluation import ScorerKind
from opdlm.config.tasks import TinyTask
from opdlm.data.tiny import Example, Split, examples, rows
from opdlm.data.tiny_tokenizer import PLAIN_TOKENS, SPECIAL_TOKENS, UNUSED_ROWS, build
from opdlm.errors import DataError
from opdlm.evaluate.scorers.registry import SCORERS
from opdlm.records import Sample

TASKS: list[TinyTask] = ["TinyMath", "TinyChoice", "TinyCode"]
SPLITS: list[Split] = ["train", "test"]
VOCABULARY = 400


def some(task: TinyTask, split: Split = "train", seed: int = 0, count: int = 300) -> list[Example]:
    return list(islice(examples([task], split, seed), count))


def last_digit(chain: str) -> int:
    """A chain of operations, strictly from left to right; only the last digit of each result is kept."""
    value, *steps = re.findall(r"^\d|[-+*]\d+", chain)
    result = int(value)
    for step in steps:
        result = int(str(eval(f"({result}){step}") % 10))
    return result


@pytest.mark.parametrize("task", TASKS)
def test_no_question_is_in_both_splits_whatever_the_seeds(task: TinyTask) -> None:
    train = {example.row.question for seed in range(4) for example in some(task, "train", seed, 1500)}
    test = {example.row.question for seed in range(4) for example in some(task, "test", seed, 300)}
    assert len(train) > 200
    assert len(test) > 30
    assert not train & test


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("split", SPLITS)
def test_rows_are_distinct_and_a_function_of_the_seed(task: TinyTask, split: Split) -> None:
    found = rows([task], split, 50, seed=3)
    assert len({row.question for row in found}) == len(found) == 50
    assert rows([task], split, 50, seed=3) == found
    assert rows([task], split, 50, seed=4) != found


def test_tasks_take_turns() -> None:
    domains = [example.row.domain for example in islice(examples(TASKS, "train", 0), 9)]
    assert domains == ["math", "science", "code"] * 3


def test_more_rows_than_there_are_is_an_error() -> None:
    with pytest.raises(DataError, match=r"TinyChoice: found only \d+ distinct test questions of the 100000 asked for"):
        rows(["TinyChoice"], "test", 100_000, seed=0)


def test_math_truths_and_written_steps_are_right() -> None:
    for example in some("TinyMath"):
        match = re.fullmatch(r"Last digits: (\d(?:[-+*]\d){2,5})", example.row.question)
        assert match, example.row.question
        assert int(example.row.ground_truth_answer) == last_digit(match[1])
        *steps, box = example.answer.split(";")
        assert all(last_digit(left) == int(right) for left, right in (step.split("=") for step in steps))
        assert [step.split("=")[0][0] for step in steps[1:]] == [step[-1] for step in steps[:-1]]
        assert box == f"\\boxed{{{example.row.ground_truth_answer}}}"


def test_choice_truths_are_right_and_every_letter_occurs() -> None:
    seen = set()
    for example in some("TinyChoice"):
        match = re.fullmatch(r"Last digits: (\S+) against (\d)\nA\. less\nB\. equal\nC\. more", example.row.question)
        assert match, example.row.question
        left, right = last_digit(match[1]), int(match[2])
        truth = {True: "B", left < right: "A", left > right: "C"}[True]
        assert example.row.ground_truth_answer == truth
        assert example.row.options == 3
        seen.add(truth)
    assert seen == set("ABC")


def test_code_answers_pass_their_tests_and_do_what_the_question_says() -> None:
    symbols = {"add": "+", "subtract": "-", "multiply by": "*"}
    for example in some("TinyCode", count=100):
        match = re.fullmatch(r"```python\n(.*)```", example.answer, flags=re.DOTALL)
        assert match
        space: dict[str, Any] = {}
        exec(match[1], space)
        assert len(example.row.test_list) == 4
        for test in example.row.test_list:
            exec(test, space)
        expression = "x"
        for step in example.row.question.removeprefix("Python f(x): ").split(", "):
            words, operand = step.rsplit(" ", 1)
            expression = f"({expression} {symbols[words]} {operand})"
        assert all(space["f"](x) == eval(expression, {"x": x}) for x in range(-30, 31))


@pytest.mark.parametrize(("task", "kind"), [("TinyMath", "math"), ("TinyChoice", "choice")])
def test_the_scorers_accept_the_answers_and_no_other(task: TinyTask, kind: ScorerKind) -> None:
    taught = some(task, count=40)

    def accepted(answers: list[str]) -> list[bool]:
        samples = [
            Sample(index=i, seed=0, prompt_tokens=1, ids=[1], steps=[1], text=text, finish="stop")
            for i, text in enumerate(answers)
        ]
        return [verdict.correct for verdict in SCORERS[kind]([example.row for example in taught], samples)]

    assert all(accepted([example.answer for example in taught]))
    others = taught[1:] + taught[:1]
    same = [x.row.ground_truth_answer == y.row.ground_truth_answer for x, y in zip(taught, others, strict=True)]
    assert accepted([example.answer for example in others]) == same


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return build(VOCABULARY, TASKS, seed=0)


def encode(tokenizer: Any, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)


@given(text=st.text(max_size=60))
def test_any_unicode_text_round_trips(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(encode(tokenizer, text)) == text


def test_every_character_of_every_plane_round_trips(tokenizer: Any) -> None:
    points = [*range(0xD800), *range(0xE000, 0x10000), *range(0x10000, 0x110000, 97)]
    for start in range(0, len(points), 4096):
        text = "".join(map(chr, points[start : start + 4096]))
        assert tokenizer.decode(encode(tokenizer, text)) == text


def test_every_byte_is_a_token(tokenizer: Any) -> None:
    tokens = [tokenizer.convert_ids_to_tokens(number) for number in range(len(tokenizer))]
    alphabet = {token for token in tokens if len(token) == 1}
    assert alphabet == set(ByteLevel.alphabet())
    assert len(alphabet) == 256


def test_digits_are_single_tokens(tokenizer: Any) -> None:
    ids = encode(tokenizer, "2024 0123456789+77")
    assert [tokenizer.decode([number]) for number in ids] == [*"2024", " ", *"0123456789", "+", *"77"]


def test_texts_of_the_tasks_are_short(tokenizer: Any) -> None:
    answer = some("TinyCode")[0].answer
    assert len(encode(tokenizer, answer)) < len(answer) / 2


def test_special_tokens_are_in_qwen3s_order_behind_the_others(tokenizer: Any) -> None:
    first = len(tokenizer) - len(SPECIAL_TOKENS + PLAIN_TOKENS)
    assert len(tokenizer) <= VOCABULARY - UNUSED_ROWS
    for number, token in enumerate(SPECIAL_TOKENS + PLAIN_TOKENS, start=first):
        assert encode(tokenizer, f"a{token}b")[1:-1] == [number]
        assert tokenizer.decode([number], skip_special_tokens=True) == ("" if token in SPECIAL_TOKENS else token)
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")


@pytest.mark.parametrize("seed", [0, 1])
def test_the_tokenizer_is_a_function_of_its_settings(tokenizer: Any, seed: int) -> None:
    assert (build(VOCABULARY, TASKS, seed).get_vocab() == tokenizer.get_vocab()) == (seed == 0)


QUESTION = [Message(role="user", content="1+1? ")]
TURN = "<|im_start|>user\n1+1? <|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("messages", "thinking", "expected"),
    [
        (QUESTION, True, TURN),
        (QUESTION, False, f"{TURN}<think>\n\n</think>\n\n"),
        (
            [Message(role="system", content="Be short."), *QUESTION],
            True,
            f"<|im_start|>system\nBe short.<|im_end|>\n{TURN}",
        ),
        (
            [*QUESTION, Message(role="assistant", content="2"), Message(role="user", content="+1?")],
            False,
            f"{TURN}2<|im_end|>\n<|im_start|>user\n+1?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        ),
        (
            [*QUESTION, Message(role="assistant", content="It is\n```python\n")],
            True,
            f"{TURN}<think>\n\n</think>\n\nIt is\n```python\n",
        ),
    ],
    ids=["thinking", "not thinking", "system", "several turns", "prefill"],
)
def test_prompts_have_the_structure_of_qwen3s(
    tokenizer: Any, messages: list[Message], thinking: bool, expected: str
) -> None:
    ids = render(tokenizer, messages, thinking)
    assert tokenizer.decode(ids) == expected
    assert ids == encode(tokenizer, expected)


def test_an_answer_stops_at_the_end_of_turn_or_of_text(tokenizer: Any) -> None:
    assert stop_ids(tokenizer) == sorted(map(tokenizer.convert_tokens_to_ids, ["<|im_end|>", "<|endoftext|>"]))


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("4<|im_end|>", "4"),
        ("4<|endoftext|>", "4"),
        (" 4\n<|im_end|>", " 4\n"),
        ("<think>\n2+2\n</think>\n\n4<|im_end|>", "4"),
        ("2+2\n</think>\n\n\\boxed{4}\n", "\\boxed{4}"),
        ("<think>\n2+2<|im_end|>", "<think>\n2+2"),
    ],
)
def test_a_scorer_sees_neither_thoughts_nor_special_tokens(tokenizer: Any, written: str, seen: str) -> None:
    assert answer_text(tokenizer, encode(tokenizer, written)) == seen

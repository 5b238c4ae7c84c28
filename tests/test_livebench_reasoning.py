"""LiveBench's reasoning tasks: answers in tags, boxes and bold, by the rules of LiveBench's repository."""

import pytest

from tests.test_livebench import row, share


@pytest.mark.parametrize(
    ("gold", "text", "score"),
    [
        ("rabbit", "so ***Rabbit***", 1),
        ("rabbit", "***cat*** no, ***rabbit***", 1),
        ("rabbit", "***rabbit*** no, ***cat***", 0),
        ("three", "***3***", 1),
        ("spy movies", "***spy***", 1),
        ("rabbit", "It is the rabbit.", 1),
        ("rabbit", "It is the rabbit, I think", 0),
    ],
)
def test_old_zebra_puzzles_take_one_word(gold, text, score):
    assert share(row("zebra_puzzle", gold), text) == score


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("<solution>1, police officer, Skiing, tea</solution>", 1),
        ("<solution>position 1, police-officer, skiing, milk</solution>", 0.375),
        ("<solution>2, nurse, skiing, milk</solution>", 0.125),
        ("<solution>1, police-officer</solution><solution>skiing, tea</solution>", 1),
        ("</solution>1, police-officer, skiing, tea</solution>", 1),
        ("\\boxed{\\text{1, police-officer, skiing, tea}}", 1),
        ("so\n1, police-officer, skiing, tea", 1),
        ("1, police-officer", 0),
    ],
)
def test_new_zebra_puzzles_take_several(text, score):
    assert share(row("zebra_puzzle", "1, police-officer, skiing, tea", release="2024-11-25"), text) == score


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("so **yes, no, yes**", 1),
        ("**Yes**, then **no**, then **yes.**", 1),
        ("**no, no, no** rather **yes, no, yes**", 1),
        ("**yes, no, yes** rather **no, no, no**", 0),
        ("<solution>yes, no, yes</solution> **no, no, no**", 1),
        ("\\boxed{\\textbf{yes, no, yes}}", 1),
        ("Thus: Yes, no, yes.", 1),
        ("no, no, no? yes, no, yes", 1),
        ("yes to all", 0),
        ("\\boxed{} Thus: yes, no, yes", 0),
        ("**yes, no**\n\\boxed{yes, no, yes}", 0),
    ],
)
def test_web_of_lies_takes_three_words(text, score):
    assert share(row("web_of_lies_v2", "yes, no, yes"), text) == score


@pytest.mark.parametrize(
    ("gold", "text", "score"),
    [
        ("3", "**3**", 1),
        ("3", "**Three**", 1),
        ("3", "**3** **a** **b**", 1),
        ("3", "**3** **a** **b** **c**", 0),
        ("triangle", "an **equilateral triangle**", 1),
        ("triangle", "**circle and square and triangle**", 0),
        ("3", "It is 3", 0),
    ],
)
def test_spatial_takes_one_of_the_last_three_bold_words(gold, text, score):
    assert share(row("spatial", gold), text) == score


@pytest.mark.parametrize(
    ("gold", "text", "score"),
    [
        ("3", "3", 1),
        ("3", " 3", 0),
        ("3", "so $\\boxed{3}$", 1),
        ("3", "**4** and so $\\boxed{\\textbf{3}}$", 1),
        ("square", "\\boxed{\\text{square}}", 1),
        ("square", "\\boxed{Square}", 0),
        ("3", "\\boxed{3} rather \\boxed{4}", 0),
        ("3", "\\boxed{three}", 0),
    ],
)
def test_spatial_also_takes_the_answer_alone_or_in_the_last_box(gold, text, score):
    assert share(row("spatial", gold), text) == score

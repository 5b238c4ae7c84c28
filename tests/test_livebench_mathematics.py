"""LiveBench's mathematics: letters, digits, orders and expressions, by the rules of LiveBench's repository."""

import pytest

from tests.test_livebench import row, share

AMC = "Which? $\\textbf{(A)} 12 \\qquad\\textbf{(B)} 17\\sqrt{2} \\qquad\\textbf{(C)}~8$"


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("BBBBB", 1),
        ("AAAAA", 0),
        ("\\boxed{B}", 1),
        ("\\boxed{\\text{b}}", 1),
        ("<solution>B</solution>", 1),
        ("So it is $17\\sqrt{2}$.", 1),
        ("So it is $17\\sqrt{2}$." + " It is done." * 3, 0),
    ],
)
def test_amc_takes_a_letter_or_its_value(text, score):
    assert share(row("math_comp", "B", AMC), text) == score


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("It is\nb", 1),
        ("It is\n**B**\n", 1),
        ("The answer is (B).", 1),
        ("(A) is wrong, (B) is right", 0),
        ("(B)\nas I said", 0),
        ("The answer is B.", 0),
        ("</solution>B</solution>", 0),
        ("<solution>BBB</solution>", 1),
        ("<solution>B</solution> or <solution>A</solution>", 0),
    ],
)
def test_amc_takes_a_letter_that_is_the_last_line_or_in_its_first_parentheses(text, score):
    assert share(row("math_comp", "B", AMC), text) == score


def test_aime_takes_three_digits_at_the_end():
    assert share(row("math_comp", "025"), "so 025") == 1
    assert share(row("math_comp", "025"), "so 25") == 0
    assert share(row("math_comp", "025"), "so 025" + "." * 50) == 0


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Answer: 1, 6, 7, 2", 1),
        ("Answer: 6, 7, 2", 0.75),
        ("Answer: 1, 7, 6, 2", 0.5),
        ("**Answer:**\n1, 6, 7, 2.", 1),
        ("Answer: 9\nAnswer: <1>, <6>, <7>, <2>", 1),
        ("Answer: see below\n\\boxed{1, 6, 7, 2}", 1),
        ("So\n1, 6, 7, 2", 1),
        ("Answer: 1, ?, 7, 2", 0.75),
        ("Answer: 1, 6, 7, 2, 3, 4, 5, 8", 0.5),
        ("none", 0),
    ],
)
def test_olympiad_takes_an_order_by_edit_distance(text, score):
    assert share(row("olympiad", "1,6,7,2"), text) == score


@pytest.mark.parametrize(
    ("gold", "text", "score"),
    [
        ("4 i \\sqrt{5}", "\\boxed{4\\sqrt{5}i}", 1),
        ("4 i \\sqrt{5}", "\\boxed{4\\sqrt{5}}", 0),
        ("\\frac{1}{7}", "\\boxed{\\dfrac17}", 1),
        ("\\frac{1}{7}", "\\boxed{0.1430}", 1),
        ("\\frac{1}{7}", "\\boxed{0.15}", 0),
        ("x^2-1", "\\boxed{p(x) = (x-1)(x+1)}", 1),
        ("\\sin (x)", "\\boxed{\\sin(x) + C}", 1),
        ("-2", "so it is $y = -2$.", 1),
        ("-2", "so it is -2.", 1),
        (["7", "-2"], "\\boxed{-2}", 1),
    ],
)
def test_amps_hard_takes_an_equal_expression(gold, text, score):
    assert share(row("AMPS_Hard", gold), text) == score


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("$7$ and then $\\frac{3}{2}$.", 1),
        ("$$y = 2 = \\frac{3}{2}$$", 1),
        ("$1 \\quad \\text{or} \\quad \\frac{3}{2}$", 1),
        ("$$\\frac{3}{2}$$\n\n$$\\frac{3}{2} = 1 + ", 0),
        ("$\\boxed{\\frac{3}{2}$", 0),
    ],
)
def test_amps_hard_takes_what_stands_between_the_last_two_dollar_signs(text, score):
    assert share(row("AMPS_Hard", "\\frac{3}{2}"), text) == score


@pytest.mark.parametrize(
    ("gold", "text", "score"),
    [
        ("693", "\\boxed{693.}", 1),
        ("1693", "\\boxed{1,693}", 1),
        ("693", "\\boxed{693 \\approx 700}", 0),
        ("693", "\\boxed{693\\%}", 0),
        ("693", "\\boxed{693 \\text{ units}}", 0),
        ("693", "\\boxed{\\text{693}}", 1),
        ("x e^x", "\\boxed{xe^{x}}", 1),
        ("\\frac{1}{2}", "\\boxed{\\bigl(\\frac12\\bigr)}", 1),
        ("2 (x+1)", "\\boxed{2 \\cdot \\left(x + 1\\right)}", 1),
        ("x^2", "so it is x^2.", 1),
        ("x ^2", "so it is x ^2", 0),
        ("x ^2", "so it is x^2", 1),
    ],
)
def test_amps_hard_takes_an_expression_and_nothing_with_it(gold, text, score):
    assert share(row("AMPS_Hard", gold), text) == score


def test_amps_hard_accepts_right_answers_on_which_the_official_parser_fails():
    assert share(row("AMPS_Hard", "9\\ 2^{2/5} \\sqrt[5]{11}"), "\\boxed{9\\ 2^{2/5} \\sqrt[5]{11}}") == 1
    assert share(row("AMPS_Hard", "e^x x \\left(2 + x\\right)"), "\\boxed{e^x (2 x + x^2)}") == 1


@pytest.mark.timeout(60)
def test_an_answer_without_end_is_read():
    assert share(row("AMPS_Hard", "x"), "$" + "x + " * 60_000 + "$") == 0

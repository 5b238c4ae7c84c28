"""The letter that an answer gives is read in every plausible wording, and a letter that merely occurs is not."""

import pytest

from opdlm.evaluate.scorers import choice


@pytest.mark.parametrize(
    "text",
    [
        '"answer": "C"',
        '{"answer": "c"}',
        "'answer': 'C'",
        '"answer": "(C)"',
        '"answer": "C. because"',
        '"answer": C',
        "“answer”: “C”",
        'As asked, e.g., "answer": "B".\n"answer": "C"',
        '"answer": "B"\nNo:\n"answer": "C"',
        "\\boxed{C}",
        "\\boxed{\\text{(C)}}",
        "\\boxed{\\textbf{C}}",
        "Answer: C",
        "**Answer:** C",
        "**Answer**: (C) since A is false",
        "answer = C",
        "The answer is C.",
        "The correct answer is (C).",
        "The correct answer is option C, I think.",
        "答案是C",
        "答案是C。因为A不对",
        "答案：C",
        "选C。",
        "正解はCです",
        "答えは C です",
        "정답은 C입니다",
        "정답: C",
        "คำตอบคือC",
        "La respuesta correcta es C.",
        "Die richtige Antwort ist C.",
        "Ответ: C",
        "الإجابة: C",
        "C",
        "c",
        "(C)",
        "**C.**",
        "<answer>C</answer>",
        "### Final Answer\n\nC",
        "A is a trap.\n(C)",
        "C. The others are wrong.",
        "The best choice would be $\\mathbf{C}$, not A.",
        "Option C is correct, as A is not.",
        "So C is the right answer.",
        "不选A，选C",
        "正确选项是（C）。",
        "Odgovor: C",
        "A helyes válasz a(z) C.",
        "پاسخ صحیح C است.",
        "\\boxed{\\text{Option C}}",
        "\\boxed{\\textbf{(C)}\\ 12}",
        "The answer is \\( \\boxed{12} \\).\n\nThus, the answer is (C).",
        "The closest option to \\( 0.07 \\) is:\n\\[ \\boxed{C} \\text{ (0.08)} \\]",
        "The closest answer is:\n\\[ C. 20.2 \\]",
        "The answer is closest to option (C) 4.5.",
        "The closest option to 0.07 is (C).",
        "The most likely answer is C.",
        "The answer appears to be (C).",
        "The best available option is a dye (C), but I doubt it.",
        "**Answer:**\n   - **C. A dye**",
        "5. **Answer:** A?\nNo. So, the correct answer is (C).",
        "The largest of them is:\n\nC. A dye",
        "Option (C) is the most accurate because B is vague.",
        "Therefore, (C) is correct.",
        "We might choose (C) 10 as the closest, though 12 is meant.",
        "C\n\nExplanation: A dye absorbs light.",
        "C. A dye\n\n**Explanation**: it absorbs light.",
        "So the result agrees.\nIt matches option C.",
        "Thus, option C.",
        "所以，正确的说法是C。",
        "因此，C 是正确答案。",
        "正确选项为C",
        "答案是C(细胞)",
    ],
)
def test_a_stated_letter_is_the_answer(text):
    assert choice.extract(text, 4) == "C"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I like C most.",
        "Answer: Cannot be determined",
        "\\boxed{because}",
        "choice D",
        "the answer is a matter of taste",
        "The answer is not known",
        '"answer": "E"',
        '"answer": "Because"',
        'Reply as in e.g., "answer": "C".',
        "A, B and D are wrong",
        "The answer is not C.",
        "答案不是C，也不选D",
        "C. is too short\nD. is too long",
        "I choose carefully.",
        "\\boxed{A = 2}",
        "\\boxed{A \\cdot B}",
        "The answer is A dye laser",
        "Answer: A customer may deduct it.",
        "The answer is B-cells.",
        "The correct formula is D = 2r.",
        "The right ventricle is D-shaped.",
        "The ampere (A) is the unit of current.",
        "Thus we must check option (B).",
        "Thus option (B) can be eliminated.",
        "So both (A) and (B) are close.",
        "So vitamin C is needed.",
        "Option B is only a guess, option C likely wrong",
        "Answer: C(n, 2) = 5",
        "Let us check the options:\n\nA. A dye can absorb light",
        "So we get option (B), and",
    ],
)
def test_a_letter_that_merely_occurs_is_not(text):
    assert choice.extract(text, 4) is None


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The answer is I.", "I"),
        ("Answer: I. The fifth", "I"),
        ("The answer is (A) and (F).", "A"),
        ("The answer is A because B is false.", "A"),
        ("The answer is A, not I.", "A"),
        ("Answer: I think that nobody knows.", None),
        ("The correct answer is I and II only.", None),
        ("where $I$ is the nuclear spin", None),
    ],
)
def test_an_article_and_a_pronoun_are_no_letters_of_ten_options(text, letter):
    assert choice.extract(text, 10) == letter


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The answer is (A). No, B fails: the answer is (C).", "C"),
        ("The answer is (A).\nAnswer: C", "C"),
        ("Answer: A\nNo. The correct answer is (C).", "C"),
        ('{"reasoning": "At first the answer is (D).", "answer": "C"}', "C"),
        ('{"answer": "C", "reasoning": "It is wrong that the answer is (D)."}', "C"),
    ],
)
def test_the_last_of_several_statements_counts_and_the_field_before_all(text, letter):
    assert choice.extract(text, 4) == letter


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "unit",
    [
        " ",
        "\n",
        "*",
        "A)",
        "答案",
        "answer is ",
        "\\boxed{",
        "respuesta ",
        "( ",
        "- ",
        "most best option ",
        "is:\n",
        "so (A) ",
    ],
)
def test_an_answer_that_only_repeats_itself_is_judged_at_once(unit):
    choice.extract("Answer: " + unit * (200_000 // len(unit)) + "z", 4)


def test_letters_are_bounded_by_the_options_of_the_row():
    assert [choice.extract('"answer": "E"', options) for options in (4, 5, 0)] == [None, "E", "E"]

"""LiveBench: each task by its own rule. The cases are made from the rules of LiveBench's repository."""

import json

import pytest

from opdlm.data.rows import Row
from opdlm.errors import DataError
from opdlm.evaluate.scorers import livebench
from opdlm.evaluate.scorers.livebench.extraction import boxed, edit_distance
from opdlm.records import Sample
from opdlm.verdicts import Verdict


def row(task: str, gold: object = None, question: str = "q", release: str = "2024-06-24", **fields: object) -> Row:
    return Row(
        question=question,
        livebench_task=task,
        livebench_release_date=release,
        livebench={"ground_truth": gold},
        **fields,
    )


def judged(row: Row, text: str, finish: str = "stop") -> Verdict:
    sample = Sample(index=0, seed=0, prompt_tokens=1, ids=[1], steps=[0], text=text, finish=finish)
    return livebench.score([row], [sample])[0]


def share(row: Row, text: str) -> float:
    return judged(row, text).score


# Reasoning


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
        ("3", "3", 0),
    ],
)
def test_spatial_takes_one_of_the_last_three_bold_words(gold, text, score):
    assert share(row("spatial", gold), text) == score


# Mathematics

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


# Data analysis


@pytest.mark.parametrize(
    ("text", "score"), [("Item_Description.", 1), ("\\boxed{\\text{item_description}}", 1), ("the item_description", 0)]
)
def test_cta_takes_the_name_alone(text, score):
    assert share(row("cta", "item_description"), text) == score


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("{'a': 'x', 'b': 'y'}", 1),
        ("Sure:\n```python\n{'b': 'y',\n'a': 'x'}\n```\n", 1),
        ("{'a': 'x'}", 0.67),
        ("{'a': 'x', 'b': 'z'}", 0.5),
        ("{'a': 'x', 'b': 'y', 'c': 'z'}", 0.8),
        ("```json\n{'a': 'x', 'b': 'y'}\n```", 0),
        ("Sure: {'a': 'x', 'b': 'y'}", 0),
    ],
)
def test_tablejoin_takes_a_dictionary_by_f1(text, score):
    assert share(row("tablejoin", '{"a": "x", "b": "y"}'), text) == score


RECORDS = [{"name": "L", "size": 1.5, "note": "a"}, {"name": "K", "size": 2.0, "note": None}]
TABLES = {
    "json": json.dumps({"7": RECORDS[0], "9": RECORDS[1]}),
    "jsonl": "\n".join(map(json.dumps, RECORDS)),
    "csv": "name,size,note\nL,1.5,a\nK,2.0,",
    "tsv": "name\tsize\tnote\nL\t1.5\ta\nK\t2.0\t",
    "html": "<table><thead><tr><th>name</th><th>size</th><th>note</th></tr></thead>"
    "<tbody><tr><td>L</td><td>1.5</td><td>a</td></tr><tr><td>K</td><td>2.0</td><td></td></tr></tbody></table>",
}


def reformatted(layout: str) -> Row:
    question = f"Please convert the Input Table from XML format to {layout.upper()} format. \n Input Table: ..."
    return row("tablereformat", TABLES[layout], question)


@pytest.mark.parametrize("layout", TABLES)
def test_a_table_counts_in_the_format_that_was_asked_for(layout):
    pytest.importorskip("lxml", reason="lxml is not installed")
    task, table = reformatted(layout), TABLES[layout]
    for text in (table, f"```{layout}\n{table}\n```", f"Here is the table:\n{table}", f"<solution>{table}</solution>"):
        assert share(task, text) == 1
    for text in (table.replace("1.5", "1.6"), table.replace("size", "sizes"), table.replace("L", "M"), "I cannot."):
        assert share(task, text) == 0


@pytest.mark.parametrize("layout", ["csv", "jsonl"])
def test_a_table_is_found_within_other_words(layout):
    assert share(reformatted(layout), f"Of course!\n\n{TABLES[layout]}\n\nDone, I hope, all of it, well.") == 1


def test_a_question_of_2025_names_its_format_elsewhere():
    question = "Source Format: CSV\nTarget Format: Markdown\n"
    table = "| name | size |\n|:--|:--|\n| L | 1.5 |\n| K | 2.0 |"
    task = row("tablereformat", table, question)
    assert share(task, table.replace(" |", "   |")) == 1
    assert share(task, table.replace("K", "L")) == 0


# Language

FOUR = "a,b,c,d,e,f,g,h"


@pytest.mark.parametrize(
    ("text", "release", "score"),
    [
        ("**D, C, B, A, h, g, f, e**", "2024-06-24", 1),
        ("**a, b, c, e, d, f, g, h**", "2024-06-24", 0),
        ("**a, b, c, d** and **e, f, g, h**", "2024-06-24", 0.5),
        ("a, b, c, d, e, f, g, h", "2024-06-24", 0),
        ("<solution>d, c, b, a, e, f, g, h</solution>", "2024-11-25", 1),
        ("<solution>d, c, b, a,\ne, f, g, x</solution>", "2024-11-25", 0.5),
        ("<solution>a, b, c, d</solution> <solution>e, f, g, h</solution>", "2024-11-25", 1),
        ("\\boxed{\\text{a, b, c, d, e, f, g, h}}", "2024-11-25", 1),
        ("**a, b, c, d, e, f, g, h**", "2024-11-25", 0),
        ("<solution>a, b, c, d, a, b, c, d, e, f, g, h</solution>", "2024-11-25", 1),
    ],
)
def test_connections_takes_groups_of_four(text, release, score):
    assert share(row("connections", FOUR, release=release), text) == score


def test_plot_unscrambling_compares_the_order_of_sentences():
    gold = "Ann wakes up. She meets a bear. They fight. Ann goes home."
    task = row("plot_unscrambling", gold)
    assert share(task, gold) == 1
    assert share(task, "First a thought. <PLOT_SUMMARY>" + gold.replace("bear", "bears")) == 1
    assert share(task, "Ann goes home. Ann wakes up. She meets a bear. They fight.") == 0.5
    assert share(task, "She meets a bear. Ann wakes up. They fight. Ann goes home.") == 0.5


def test_typos_looks_for_the_corrected_text():
    task = row("typos", "We saw it. It was good.")
    assert share(task, "Here:\nWe saw it.\nIt was good.\nBye") == 1
    assert share(task, "<solution>We saw it. It was good.</solution>") == 1
    assert share(task, "We saw it. It was god.") == 0


# Instructions, programs, and all tasks


def test_instructions_score_the_mean_of_all_and_of_the_share_followed():
    pytest.importorskip("langdetect", reason="langdetect is not installed")
    task = row(
        "simplify",
        instruction_id_list=["startend:quotation", "detectable_format:title"],
        kwargs=[{"num_words": None}, {}],
    )
    assert [share(task, text) for text in ('"<<T>> a"', '"a"', "a")] == [1, 0.25, 0]
    assert "1/2 strict" in judged(task, '"a"').detail


def test_programs_are_judged_by_their_tests_and_may_go_on_from_a_beginning():
    task = row("coding_completion", entry_point="f", test_list=["assert f(2) == 4"])
    task.livebench["partial_solution"] = "def f(x):"
    assert judged(task, "```python\n    return 2 * x\n```").correct
    assert judged(task, "```python\ndef f(x):\n    return 2 * x\n```").correct
    assert judged(task, "```python\n    return x\n```").reason == "wrong"


def test_answers_to_several_tasks_keep_their_order():
    rows = [row("LCB_generation", entry_point="f", test_list=["assert f(2) == 4"]), row("typos", "a b")]
    texts = ["a b", "```python\ndef f(x):\n    return 2 * x\n```"]
    samples = [
        Sample(index=index, seed=0, prompt_tokens=1, ids=[1], steps=[0], text=text, finish="stop")
        for index, text in zip((1, 0), texts, strict=True)
    ]
    assert [(each.index, each.correct) for each in livebench.score(rows, samples)] == [(1, True), (0, True)]


def test_more_than_half_is_correct_and_half_is_not():
    task = row("olympiad", "1,2,3,4")
    assert [(judged(task, f"Answer: {text}").correct) for text in ("1,2,3,9", "1,2,8,9")] == [True, False]


@pytest.mark.parametrize(("finish", "reason"), [("stop", "no_answer"), ("length", "truncated")])
def test_a_text_without_an_answer_is_told_from_a_wrong_one(finish, reason):
    for task, text in ((row("spatial", "3"), "It is 3"), (row("typos", "a"), " ")):
        assert judged(task, text, finish).reason == reason


@pytest.mark.parametrize(
    ("damaged", "words"),
    [
        (row("zebra_puzzles", "a"), "row 0: LiveBench task 'zebra_puzzles' is unknown"),
        (row("spatial"), r"row 0 \(spatial\) has no ground truth"),
        (row("connections", "a,b", release=""), "no release date"),
        (row("LCB_generation"), r"row 0 \(LCB_generation\) has no tests"),
        (row("simplify"), "row 0 has 0 instructions"),
        (row("olympiad", "one,two"), r"row 0 \(olympiad\) is damaged"),
        (row("tablejoin", "{'a'"), r"row 0 \(tablejoin\) is damaged"),
        (row("tablereformat", "a", "Convert this."), r"row 0 \(tablereformat\) is damaged"),
    ],
)
def test_a_row_that_cannot_be_judged_is_an_error_and_not_a_zero(damaged, words):
    with pytest.raises(DataError, match=words):
        judged(damaged, "**3** 1, 2")


def test_boxes_are_read_as_livebench_reads_them():
    texts = ["\\boxed{a_{1}} b", "\\boxed 5$ so", "\\fbox{3}", "\\boxed{a", "\\boxed{1} \\boxed{$2$}", "none"]
    assert [boxed(text) for text in texts] == ["a_{1}", "5", "3", None, "2", None]


def test_edit_distance_counts_insertions_deletions_and_replacements():
    pairs = [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("abc", "abc", 0), ([1, 2, 3], [2, 3, 1], 2)]
    assert [edit_distance(first, second) for first, second, _ in pairs] == [distance for *_, distance in pairs]

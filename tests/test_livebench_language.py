"""LiveBench's language tasks: groups of words, plots and typos, by the rules of LiveBench's repository."""

import pytest

from tests.test_livebench import row, share

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
        ("<solution>\na, b, c, d,\ne, f, g, h\n</solution> not </solution>a, b</solution>", "2024-11-25", 1),
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


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("<PLOT_SUMMARY>{}</PLOT_SUMMARY>", 1),
        ("<PLOT_SUMMARY>\n{}\n</PLOT_SUMMARY>\nOr so: Ann goes home.", 1),
        ("Ann goes home. <PLOT_SUMMARY>{}", 1),
        ("{} Ann goes home.", 0.75),
        ("**End of Plot Summary**", 0),
    ],
)
def test_plot_unscrambling_reads_between_its_tags(text, score):
    # The last sentence was changed, so that one outside would be more like it.
    gold = "Ann wakes up. She meets a bear. They fight. Ann goes home."
    assert share(row("plot_unscrambling", gold), text.format(gold.replace("goes", "went"))) == score


def test_typos_looks_for_the_corrected_text():
    task = row("typos", "We saw it. It was good.")
    assert share(task, "Here:\nWe saw it.\nIt was good.\nBye") == 1
    assert share(task, "<solution>We saw it. It was good.</solution>") == 1
    assert share(task, "We saw it. It was god.") == 0


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("We saw it. <solution>It was good.", 1),
        ("x --- We saw it. It was good. --- y", 1),
        ("x --- no --- y\nWe saw it. It was good.", 0),
        ("<solution>no</solution> We saw it. It was good.", 0),
        ("<solution>\nWe saw it.\nIt was good.\n</solution>", 1),
        ("</solution>no</solution> We saw it. It was good.", 1),
    ],
)
def test_typos_takes_the_text_between_tags_or_dashes(text, score):
    assert share(row("typos", "We saw it. It was good."), text) == score


@pytest.mark.timeout(60)
@pytest.mark.parametrize("endless", ["a b ", "<solution>", " --- "])
def test_an_answer_without_end_is_read(endless):
    assert share(row("typos", "no such text"), endless * 40_000) == 0

"""LiveBench's data analysis: names, dictionaries and tables, by the rules of LiveBench's repository."""

import json

import pytest

from opdlm.data.rows import Row
from tests.test_livebench import row, share


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Item_Description.", 1),
        (" 'item_description'", 1),
        ("\\boxed{\\text{item_description}}", 1),
        ("the item_description", 1),
        ("**Class:** item_description", 1),
        ("item_description, I think", 0),
        ("item description", 0),
        ("\\boxed{name} item_description", 0),
        ("\\boxed item_description$ is it", 0),
    ],
)
def test_cta_takes_a_text_that_ends_with_the_name(text, score):
    assert share(row("cta", "item_description"), text) == score


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("{'a': 'x', 'b': 'y'}", 1),
        ("Sure:\n```python\n{'b': 'y',\n'a': 'x'}\n```\n", 1),
        ("{'a': 'x'}", 0.67),
        ("{'a': 'x', 'b': 'z'}", 0.5),
        ("{'a': 'x', 'b': 'y', 'c': 'z'}", 0.8),
        ('```json\n{"a": "x", "b": "y"}\n```', 1),
        ("```\n{}\n```\n```json\n{'a': 'x', 'b': 'y'}\n```\n```python\n{'a': 'x'}\n```", 0.67),
        ("<solution>{'a': 'x',\n'b': 'y'}</solution>", 1),
        ("<solution>{}</solution><solution>\n```python\n{'a': 'x', 'b': 'y'}\n```\n</solution>", 1),
        ("{'a': 'x', 'b': 'y', 'c': None}", 1),
        ('{"a": "x", "b": "y", "c": null}', 1),
        ("{'a': 'x', 'b': None}", 0.67),
        ("{'a': 'x', 'b': ''}", 0.4),
        ("['a', 'x']", 0),
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


def test_a_table_of_tsv_that_can_be_read_is_not_looked_for_again():
    before = "one\ttwo\tthree\nfour\tfive\tsix\n"
    assert share(reformatted("tsv"), before + TABLES["tsv"]) == 0
    assert share(reformatted("csv"), before.replace("\t", ",") + TABLES["csv"]) == 1


def test_a_question_of_2025_names_its_format_elsewhere():
    question = "Source Format: CSV\nTarget Format: Markdown\n"
    table = "| name | size |\n|:--|:--|\n| L | 1.5 |\n| K | 2.0 |"
    task = row("tablereformat", table, question)
    assert share(task, table.replace(" |", "   |")) == 1
    assert share(task, table.replace("K", "L")) == 0

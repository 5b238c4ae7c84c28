"""Tables in the paper's shape: methods down, benchmarks across, the paper's number beside ours where there is one."""

from pathlib import Path

from opdlm.config.stages import TableStage
from opdlm.files import write_json, write_text
from opdlm.reporting.cells import Cell, Line, Table, read_table
from opdlm.reporting.layouts import csv_text, html_text, markdown_text
from opdlm.reporting.paper import PaperValues


def write_table(stage: TableStage, paper_file: Path, out: Path) -> Table:
    """Write `out` (CSV) and beside it the same as Markdown and HTML, and a JSON file with the origin of every number.

    Raises:
        DataError: the paper's numbers, a result or a cost cannot be read. A result that does not exist only leaves
            its cell empty.
    """
    table = read_table(stage, PaperValues(paper_file))
    header, body = columns(table), entries(table)
    write_json(out.with_suffix(".json"), table.model_dump(mode="json"))
    write_text(out.with_suffix(".md"), f"{table.title}\n\n{markdown_text(header, body)}")
    write_text(out.with_suffix(".html"), html_text(table.title, header, body))
    write_text(out, csv_text(header, body))
    return table


def columns(table: Table) -> list[str]:
    """Names of the columns."""
    across: list[str] = []
    for cell, varies in zip(table.lines[0].cells, _varying(table), strict=True):
        across += [cell.column, f"{cell.column} paper", f"{cell.column} difference"]
        across += [f"{cell.column} std", f"{cell.column} paper std"] if varies else []
    return ["method", *across, "average", "average paper", "tokens/step"]


def entries(table: Table) -> list[list[str]]:
    """The texts of every line, empty where there is no number."""
    return [_entries(line, _varying(table)) for line in table.lines]


def _varying(table: Table) -> list[bool]:
    """Of each benchmark, whether any line has a standard deviation over seeds."""
    by_column = zip(*(line.cells for line in table.lines), strict=True)
    return [any(cell.std is not None or cell.paper_std is not None for cell in cells) for cells in by_column]


def _entries(line: Line, varying: list[bool]) -> list[str]:
    across = [text for cell, varies in zip(line.cells, varying, strict=True) for text in _texts(cell, varies)]
    ends = [number(line.average, ".1f"), number(line.paper_average, ".1f"), number(line.tokens_per_step, ".2f")]
    return [line.label, *across, *ends]


def _texts(cell: Cell, varies: bool) -> list[str]:
    texts = [number(cell.value, ".1f"), number(cell.paper, ".1f"), number(cell.difference, "+.1f")]
    return texts + ([number(cell.std, ".1f"), number(cell.paper_std, ".1f")] if varies else [])


def number(value: float | None, form: str) -> str:
    """A number in a format of Python; empty if there is none."""
    return "" if value is None else format(value, form)

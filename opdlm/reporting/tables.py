"""Tables in the paper's shape: methods down, benchmarks across, the paper's number beside ours where there is one."""

from pathlib import Path
from statistics import mean

from pydantic import BaseModel

from opdlm.config.stages import CellHashes, CellSource, TableLine, TableStage
from opdlm.errors import DataError
from opdlm.files import write_json, write_text
from opdlm.records import Merged
from opdlm.reporting.layouts import csv_text, html_text, markdown_text
from opdlm.reporting.paper import PaperValues
from opdlm.reporting.results import git_version, read_merged


class Cell(BaseModel):
    """One number, and where it comes from."""

    benchmark: str
    value: float | None
    """Per cent; none if there is no result, see `missing`."""
    missing: str | None
    paper: float | None
    paper_std: float | None
    result: Merged | None
    merged_file: str
    sample_files: list[str]
    log_files: list[str]
    """The log at the same place as a sample file opens with the command that wrote it."""
    hashes: CellHashes


class Line(BaseModel):
    """One method."""

    label: str
    model: str
    decoding: str
    paper_row: str | None
    average: float | None
    tokens_per_step: float | None
    cells: list[Cell]


class Table(BaseModel):
    """A whole table, as it stands in the JSON file beside the CSV file."""

    title: str
    paper_table: str | None
    code_version: str | None
    """Commit of the code that made the table."""
    lines: list[Line]


def write_table(stage: TableStage, paper_file: Path, out: Path) -> Table:
    """Write `out` (CSV) and beside it the same as Markdown and HTML, and a JSON file with the origin of every number.

    Raises:
        DataError: the paper's numbers or a result cannot be read. A result that does not exist only leaves its cell
            empty.
    """
    paper = PaperValues(paper_file)
    lines = [_line(line, stage.paper_table, paper) for line in stage.lines]
    version = git_version(Path(__file__).parent)
    table = Table(title=stage.title, paper_table=stage.paper_table, code_version=version, lines=lines)
    header, body = columns(table), [entries(line) for line in lines]
    write_json(out.with_suffix(".json"), table.model_dump(mode="json"))
    write_text(out.with_suffix(".md"), f"{table.title}\n\n{markdown_text(header, body)}")
    write_text(out.with_suffix(".html"), html_text(table.title, header, body))
    write_text(out, csv_text(header, body))
    return table


def _line(line: TableLine, paper_table: str | None, paper: PaperValues) -> Line:
    cells = [_cell(cell, paper_table, line.paper_row, paper) for cell in line.cells]
    values = [cell.value for cell in cells if cell.value is not None]
    speeds = [cell.result.tokens_per_step for cell in cells if cell.result is not None]
    complete = len(values) == len(cells)
    return Line(
        label=line.label,
        model=line.model,
        decoding=line.decoding,
        paper_row=line.paper_row,
        # Means over different sets of benchmarks must not stand in one column.
        average=mean(values) if complete else None,
        tokens_per_step=mean(speeds) if complete else None,
        cells=cells,
    )


def _cell(source: CellSource, paper_table: str | None, paper_row: str | None, paper: PaperValues) -> Cell:
    file = Path(source.merged)
    result = read_merged(file) if file.is_file() else None
    if result is not None and sorted(result.sample_files) != sorted(source.samples):
        raise DataError(f"{file} was merged from other sample files than {', '.join(source.samples)}")
    published = paper.find(paper_table, paper_row, source.paper_column)
    return Cell(
        benchmark=source.benchmark,
        value=result.accuracy if result else None,
        missing=None if result else f"{file} does not exist",
        paper=published.value if published else None,
        paper_std=published.std if published else None,
        result=result,
        merged_file=source.merged,
        sample_files=source.samples,
        log_files=source.logs,
        hashes=source.hashes,
    )


def columns(table: Table) -> list[str]:
    """Names of the columns."""
    names = [cell.benchmark for cell in table.lines[0].cells]
    across = [column for name in names for column in (name, f"{name} paper", f"{name} difference")]
    return ["method", *across, "average", "tokens/step"]


def entries(line: Line) -> list[str]:
    """The texts of one line, empty where there is no number."""
    across: list[str] = []
    for cell in line.cells:
        both = cell.value is not None and cell.paper is not None
        # The difference of the numbers as printed, so that a reader can check it.
        difference = round(cell.value or 0.0, 1) - (cell.paper or 0.0) if both else None
        across += [_number(cell.value, ".1f"), _number(cell.paper, ".1f"), _number(difference, "+.1f")]
    return [line.label, *across, _number(line.average, ".1f"), _number(line.tokens_per_step, ".2f")]


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)

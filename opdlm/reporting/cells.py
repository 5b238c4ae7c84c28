"""The cells of a table: our number, the paper's, and where ours comes from, as they stand in the table's JSON file."""

from pathlib import Path
from statistics import mean

from pydantic import BaseModel

from opdlm.config.stages import CellOrigin, CellSource, TableLine, TableStage
from opdlm.errors import DataError
from opdlm.reporting.costs import Spent, spent
from opdlm.reporting.paper import PaperValues
from opdlm.reporting.results import git_version, read_merged
from opdlm.verdicts import Merged


class Cell(BaseModel):
    """One number, and where it comes from."""

    column: str
    value: float | None
    """Per cent; none if there is no result, see `missing`."""
    std: float | None
    """Standard deviation over seeds; none with a single one."""
    missing: str | None
    paper: float | None
    paper_std: float | None
    difference: float | None
    """Points above the paper's number, both as printed, so that a reader can check it."""
    published_difference: float | None
    """The same for the answers that the published harness counts as correct, `result.published_accuracy`."""
    result: Merged | None
    evaluation: Spent | None
    """What the answers took; none if there is no result."""
    training: Spent | None
    """What the model's training took; none if it was not trained here, or there is no result."""
    origin: CellOrigin | None
    """The files behind the number; none if there is nothing of ours."""


class Line(BaseModel):
    """One method."""

    label: str
    model: str | None
    """None if only the paper has numbers of it."""
    decoding: str | None
    paper_row: str | None
    average: float | None
    """Over the benchmarks; none unless there is a number for every one."""
    paper_average: float | None
    tokens_per_step: float | None
    cells: list[Cell]


class Table(BaseModel):
    """A whole table, as it stands in the JSON file beside the CSV file."""

    title: str
    paper_table: str | None
    code_version: str | None
    """Commit of the code that made the table."""
    lines: list[Line]


def read_table(stage: TableStage, paper: PaperValues) -> Table:
    """Collect a table from the results that exist.

    Raises:
        DataError: a result or a cost cannot be read, or belongs to other samples.
    """
    lines = [_line(line, stage.paper_table, paper) for line in stage.lines]
    version = git_version(Path(__file__).parent)
    return Table(title=stage.title, paper_table=stage.paper_table, code_version=version, lines=lines)


def _line(line: TableLine, paper_table: str | None, paper: PaperValues) -> Line:
    cells = [_cell(cell, paper_table, line.paper_row, paper) for cell in line.cells]
    return Line(
        label=line.label,
        model=line.model,
        decoding=line.decoding,
        paper_row=line.paper_row,
        average=_complete_mean([cell.value for cell in cells]),
        paper_average=_complete_mean([cell.paper for cell in cells]),
        tokens_per_step=_complete_mean([cell.result.tokens_per_step if cell.result else None for cell in cells]),
        cells=cells,
    )


def _complete_mean(values: list[float | None]) -> float | None:
    """None unless all are there: means over different sets of benchmarks must not stand in one column."""
    known = [value for value in values if value is not None]
    return mean(known) if len(known) == len(values) else None


def _cell(source: CellSource, paper_table: str | None, paper_row: str | None, paper: PaperValues) -> Cell:
    origin = source.origin
    result = _result(origin) if origin else None
    published = paper.find(paper_table, paper_row, source.column)
    value = published.value if published else None
    return Cell(
        column=source.column,
        value=result.accuracy if result else None,
        std=result.accuracy_std if result else None,
        missing=None if result else _reason(source),
        paper=value,
        paper_std=published.std if published else None,
        difference=_difference(result.accuracy if result else None, value),
        published_difference=_difference(result.published_accuracy if result else None, value),
        result=result,
        evaluation=spent(origin.costs) if origin and result else None,
        training=spent([origin.training]) if origin and origin.training and result else None,
        origin=origin,
    )


def _result(origin: CellOrigin) -> Merged | None:
    """The result, if it exists."""
    file = Path(origin.merged)
    if not file.is_file():
        return None
    result = read_merged(file)
    if sorted(result.sample_files) != sorted(origin.samples):
        raise DataError(f"{file} was merged from other sample files than {', '.join(origin.samples)}")
    return result


def _reason(source: CellSource) -> str:
    return f"{source.origin.merged} does not exist" if source.origin else source.missing or "there is no such number"


def _difference(ours: float | None, paper: float | None) -> float | None:
    if ours is None or paper is None:
        return None
    return round(round(ours, 1) - round(paper, 1), 1) + 0.0  # never -0.0

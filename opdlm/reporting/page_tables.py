"""What the report page shows of a table: the cells, and what is folded away under them."""

from dataclasses import dataclass
from typing import get_args

from opdlm.config.stages import CellOrigin
from opdlm.reporting.cells import Cell, Line, Table
from opdlm.reporting.costs import Spent, Total, total
from opdlm.reporting.drawings import anchor
from opdlm.reporting.formats import braced, signed
from opdlm.verdicts import Reason

NEAR, FAR = 2.0, 5.0
"""Differences up to so many points are lightly and moderately coloured."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A cell as shown.

    Attributes:
        note: number of the footnote with the reason why it is empty.
        tone: class of the colour of the difference.
    """

    cell: Cell
    note: int | None
    difference: str
    tone: str


@dataclass(frozen=True, slots=True)
class Row:
    """A line as shown."""

    line: Line
    entries: list[Entry]
    difference: str
    """Of the averages."""
    tone: str


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What became of the answers to one benchmark.

    Attributes:
        counts: by reason, for each of the table's.
    """

    cell: Cell
    counts: dict[str, int]
    difference: str
    tone: str


@dataclass(frozen=True, slots=True)
class Expense:
    """What a line took."""

    label: str
    evaluation: Total
    training: Total | None


@dataclass(frozen=True, slots=True)
class Division:
    """A benchmark by language, subject or the like.

    Attributes:
        rows: label of a line and its number for each name, none where it has none.
    """

    benchmark: str
    names: list[str]
    rows: list[tuple[str, list[float | None]]]


@dataclass(frozen=True, slots=True)
class Files:
    """The files behind a number."""

    column: str
    entries: list[tuple[str, str]]
    """What they are, and their names."""


@dataclass(frozen=True, slots=True)
class TableView:
    """A table with all that is shown of it."""

    anchor: str
    table: Table
    json_file: str
    rows: list[Row]
    notes: list[str]
    reasons: list[str]
    """Reasons of verdicts that occur."""
    verdicts: list[tuple[str, list[Verdicts]]]
    """By line."""
    expenses: list[Expense]
    divisions: list[Division]
    files: list[tuple[str, list[Files]]]
    """By line."""

    @property
    def cells(self) -> list[Cell]:
        """All of them."""
        return [cell for line in self.table.lines for cell in line.cells]


def view(name: str, json_file: str, table: Table) -> TableView:
    """What is shown of a table."""
    notes = list(dict.fromkeys(c.missing for line in table.lines for c in line.cells if c.missing is not None))
    reasons = _reasons(table)
    return TableView(
        anchor=anchor("table", name),
        table=table,
        json_file=json_file,
        rows=[_row(line, notes) for line in table.lines],
        notes=notes,
        reasons=reasons,
        verdicts=[(line.label, judged) for line in table.lines if (judged := _verdicts(line, reasons))],
        expenses=[_expense(line) for line in table.lines if any(cell.evaluation for cell in line.cells)],
        divisions=_divisions(table),
        files=[(line.label, found) for line in table.lines if (found := _files(line))],
    )


def tone(difference: float | None) -> str:
    """Class of the colour of a difference: blue above the paper, orange below, stronger in three steps."""
    if not difference:
        return "same"
    step = 1 if abs(difference) <= NEAR else 2 if abs(difference) <= FAR else 3
    return f"{'up' if difference > 0 else 'down'}{step}"


def _row(line: Line, notes: list[str]) -> Row:
    entries = [
        Entry(
            cell=cell,
            note=None if cell.missing is None else 1 + notes.index(cell.missing),
            difference=signed(cell.difference),
            tone=tone(cell.difference),
        )
        for cell in line.cells
    ]
    both = line.average is not None and line.paper_average is not None
    difference = round(line.average or 0.0, 1) - round(line.paper_average or 0.0, 1) if both else None
    return Row(line=line, entries=entries, difference=signed(difference), tone=tone(difference))


def _reasons(table: Table) -> list[str]:
    found = {reason for line in table.lines for cell in line.cells if cell.result for reason in cell.result.reasons}
    return [reason for reason in get_args(Reason) if reason in found] + sorted(found - set(get_args(Reason)))


def _verdicts(line: Line, reasons: list[str]) -> list[Verdicts]:
    return [
        Verdicts(
            cell=cell,
            counts={reason: cell.result.reasons.get(reason, 0) for reason in reasons},
            difference=signed(cell.published_difference),
            tone=tone(cell.published_difference),
        )
        for cell in line.cells
        if cell.result is not None
    ]


def _expense(line: Line) -> Expense:
    evaluations = [cell.evaluation for cell in line.cells if cell.evaluation is not None]
    trained = training(line)
    return Expense(line.label, total(evaluations), total([trained]) if trained else None)


def training(line: Line) -> Spent | None:
    """What the training of a line's model took; the same in each of its cells."""
    return next((cell.training for cell in line.cells if cell.training is not None), None)


def _divisions(table: Table) -> list[Division]:
    divisions: list[Division] = []
    for place, cell in enumerate(table.lines[0].cells):
        given = [(line.label, _subdivisions(line.cells[place])) for line in table.lines]
        names = list(dict.fromkeys(name for _, values in given for name in values))
        rows = [(label, [values.get(name) for name in names]) for label, values in given if values]
        if names:
            divisions.append(Division(cell.column, names, rows))
    return divisions


def _subdivisions(cell: Cell) -> dict[str, float]:
    return cell.result.accuracy_by_subdivision if cell.result else {}


def _files(line: Line) -> list[Files]:
    return [
        Files(cell.column, _names(cell.origin, cell.result.score_files if cell.result else []))
        for cell in line.cells
        if cell.origin is not None
    ]


def _names(origin: CellOrigin, scores: list[str]) -> list[tuple[str, str]]:
    entries = [
        ("result", origin.merged),
        ("answers", braced(origin.samples)),
        ("verdicts", braced(scores)),
        ("logs", braced(origin.logs)),
        ("costs", braced(origin.costs)),
        ("training", origin.training or ""),
        ("hashes", ", ".join(f"{stage} {text}" for stage, text in origin.hashes.model_dump().items())),
    ]
    return [(what, names) for what, names in entries if names]

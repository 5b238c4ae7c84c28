"""Settings of the reporting stages: which results a table or figure is made of."""

from opdlm.config.base import Name, Strict


class CellHashes(Strict):
    """What a cell depends on: for each stage, a hash over its settings and its code."""

    rows: str
    model: str
    generate: str
    score: str


class CellSource(Strict):
    """The files behind one cell of a table."""

    benchmark: Name
    paper_column: str
    merged: str
    samples: list[str]
    logs: list[str]
    """Logs of the generation; each opens with the command that wrote the sample file at the same place."""
    hashes: CellHashes


class TableLine(Strict):
    """One line of a table, a cell for each benchmark."""

    label: str
    model: str
    decoding: Name
    paper_row: str | None
    cells: list[CellSource]


class TableStage(Strict):
    """What a table is made of."""

    title: str
    paper_table: str | None
    lines: list[TableLine]


class SweepPoint(Strict):
    """One decoding on one benchmark."""

    label: str
    benchmark: Name
    merged: str


class SweepStage(Strict):
    """What a figure of accuracy against tokens per step is made of."""

    title: str
    benchmarks: list[Name]
    points: list[SweepPoint]


class CurveRun(Strict):
    """A training run and the model folder that holds its metrics."""

    name: Name
    folder: str


class CurveStage(Strict):
    """What a figure of training curves is made of."""

    title: str
    runs: list[CurveRun]


class RolloutStage(Strict):
    """What a figure of decoding speed is made of."""

    title: str
    file: str
    """The measurements, a CSV file."""

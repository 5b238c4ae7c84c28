"""Settings of the reporting stages: which results a table or figure is made of."""

from typing import Literal

from opdlm.config.base import Name, Strict
from opdlm.config.reporting import CurveName


class CellHashes(Strict):
    """What a cell depends on: for each stage, a hash over its settings and its code."""

    rows: str
    model: str
    generate: str
    score: str


class CellOrigin(Strict):
    """The files behind a number."""

    benchmark: Name
    merged: str
    samples: list[str]
    costs: list[str]
    """What each sample file took, a `Cost`; at the same place as the sample file."""
    logs: list[str]
    """Logs of the generation; each opens with the command that wrote the sample file at the same place."""
    training: str | None
    """What the training of the model took, a `Cost`; none if it was not trained here."""
    hashes: CellHashes


class CellSource(Strict):
    """One cell of a table."""

    column: str
    """Heading of the column, by which the paper's number is found."""
    origin: CellOrigin | None
    """None if there is no number of ours."""
    missing: str | None
    """The reason for that."""


class TableLine(Strict):
    """One line of a table, a cell for each benchmark."""

    label: str
    model: str | None
    decoding: Name | None
    paper_row: str | None
    cells: list[CellSource]


class TableStage(Strict):
    """What a table is made of."""

    title: str
    paper_table: str | None
    lines: list[TableLine]


class SweepPoint(Strict):
    """One decoding of one model on one benchmark."""

    series: str
    """Label of the model."""
    decoding: str
    """Label of the decoding: its threshold, or its strategy."""
    threshold: float | None
    """1 for one token a step (static); none if the decoding has none."""
    block_size: int
    benchmark: Name
    merged: str


class SweepStage(Strict):
    """What a figure of accuracy over decodings and models is made of."""

    title: str
    across: Literal["tokens_per_step", "threshold", "block_size"]
    paper: bool
    """Whether the paper's points stand beside ours."""
    benchmarks: list[Name]
    points: list[SweepPoint]


class CurveRun(Strict):
    """A training run and the model folder that holds its metrics."""

    name: Name
    folder: str
    block_size: int


class CurveStage(Strict):
    """What a figure of training curves is made of."""

    title: str
    runs: list[CurveRun]
    curves: list[CurveName]
    """Names of the panels; all that any run has something for, if empty."""
    paper: bool
    """Whether the paper's tokens per step stand beside ours."""


class RolloutStage(Strict):
    """What a figure of decoding speed is made of."""

    title: str
    file: str
    """The measurements, a CSV file."""


class ReportFigure(Strict):
    """A figure of the report; of kind `run` is the training of one run alone."""

    name: str
    title: str
    kind: Literal["sweep", "training", "run", "rollout"]
    svg: str


class ReportTable(Strict):
    """A table of the report."""

    name: Name
    json_file: str


class ReportStage(Strict):
    """What the report page is made of."""

    title: str
    tables: list[ReportTable]
    figures: list[ReportFigure]

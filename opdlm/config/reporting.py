"""Settings of tables and figures."""

from typing import Literal

from pydantic import Field

from opdlm.config.base import Name, Strict


class TableRow(Strict):
    """One line of a table: `model` is `teacher/NAME`, `init/TEACHER-bN` or `run/NAME`."""

    label: str
    model: str = Field(pattern=r"^(teacher|init|run)/[\w.-]+$")
    decoding: Name
    paper_row: str | None = Field(default=None, description="name of the row in the paper's table")


class TableSettings(Strict):
    """A table: methods down, benchmarks across."""

    title: str
    rows: list[TableRow] = Field(min_length=1)
    benchmarks: list[Name] = Field(min_length=1)
    paper_table: str | None = None


class SweepFigure(Strict):
    """Accuracy against tokens per denoising step over several decodings of one model (figures 3 to 5)."""

    kind: Literal["sweep"]
    title: str
    model: str = Field(pattern=r"^(init|run)/[\w.-]+$")
    decodings: list[Name] = Field(min_length=1)
    benchmarks: list[Name] = Field(min_length=1)


class CurveFigure(Strict):
    """Training curves of some runs."""

    kind: Literal["training"]
    title: str
    runs: list[Name] = Field(min_length=1)


class RolloutFigure(Strict):
    """Decoding speed of the engine and its floor, as `benchmarks/rollout.py` measured them."""

    kind: Literal["rollout"]
    title: str
    file: str = Field(description="the measurements, a CSV file; relative to the repository")

"""Settings of tables and figures."""

from typing import Literal, Self

from pydantic import Field, model_validator

from opdlm.config.base import Name, Strict

CurveName = Literal[
    "loss",
    "right answers (%)",
    "tokens per denoising step",
    "answer length (tokens)",
    "decoding threshold",
    "gradient norm",
]
"""The panels of a figure of training curves, in their order."""


class TableRow(Strict):
    """One line of a table: `model` is `teacher/NAME`, `init/TEACHER-bN` or `run/NAME`."""

    label: str
    model: str | None = Field(default=None, pattern=r"^(teacher|init|run)/[\w.-]+$")
    decoding: Name | None = None
    variants: list[Name] = Field(
        default=[], description="the row takes BENCHMARK-VARIANT for a benchmark, with the first of these that exists"
    )
    only: list[Name] = Field(default=[], description="the benchmarks that the row has; all of the table's if empty")
    paper_row: str | None = Field(default=None, description="name of the row in the paper's table")
    not_run: str | None = Field(
        default=None, description="why there is no model: the line has the paper's numbers only"
    )

    @model_validator(mode="after")
    def _model_or_reason(self) -> Self:
        if (self.not_run is None) == (self.model is None or self.decoding is None):
            raise ValueError("give 'model' and 'decoding', or in their place 'not_run', the reason why there is none")
        return self


class TableSettings(Strict):
    """A table: methods down, benchmarks across."""

    title: str
    rows: list[TableRow] = Field(min_length=1)
    benchmarks: list[Name] = Field(min_length=1)
    paper_table: str | None = None


class SweepFigure(Strict):
    """Accuracy over several decodings of some models, a panel for each benchmark (figures 3 to 5)."""

    kind: Literal["sweep"]
    title: str
    models: dict[str, str] = Field(min_length=1, description="label and model: init/TEACHER-bN or run/NAME")
    decodings: list[Name] = Field(min_length=1)
    benchmarks: list[Name] = Field(min_length=1)
    across: Literal["tokens_per_step", "threshold", "block_size"] = Field(
        default="tokens_per_step",
        description="the horizontal axis; with block_size a line joins the models, otherwise the decodings of one",
    )
    paper: bool = Field(
        default=False, description="the paper's points of the same block sizes and thresholds beside ours"
    )


class CurveFigure(Strict):
    """Training curves of some runs."""

    kind: Literal["training"]
    title: str
    runs: list[Name] = Field(min_length=1)
    curves: list[CurveName] = Field(default=[], description="the panels; all that any run has something for, if empty")
    paper: bool = Field(default=False, description="the paper's tokens per step for the runs' block sizes beside ours")


class RolloutFigure(Strict):
    """Decoding speed of the engine and its floor, as `benchmarks/rollout.py` measured them."""

    kind: Literal["rollout"]
    title: str
    file: str = Field(description="the measurements, a CSV file; relative to the repository")

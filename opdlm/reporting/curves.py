"""Training curves: what a run did, rollout by rollout, several runs in one figure."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from pydantic import BaseModel, ValidationError

from opdlm.config.reporting import CurveName
from opdlm.config.stages import CurveRun, CurveStage
from opdlm.errors import DataError
from opdlm.files import iterate_jsonl
from opdlm.reporting.paper_figures import PaperRollouts
from opdlm.reporting.plotting import panels, save


class RolloutRecord(BaseModel):
    """What the figure shows of a rollout; what does not apply to a run is none."""

    rollout: int
    mean_length: float
    tokens_per_step: float | None = None
    threshold: float | None = None
    accuracy: float | None = None


class UpdateRecord(BaseModel):
    """What the figure shows of an optimiser update."""

    rollout: int
    loss: float
    grad_norm: float | None = None


Value = float | None


@dataclass(frozen=True, slots=True)
class Curve:
    """A run: one value for each rollout, none where there is none.

    Attributes:
        paper: the paper's tokens per denoising step by rollout; empty if they are not asked for.
    """

    name: str
    rollouts: list[int]
    values: dict[CurveName, list[Value]]
    paper: dict[int, float]


Drawn = Callable[[RolloutRecord, list[UpdateRecord]], Value]
"""From the records of a rollout and its updates to the value of a curve."""
SPEED: CurveName = "tokens per denoising step"
"""The panel that the paper has, figure 6."""
CURVES: dict[CurveName, Drawn] = {
    "loss": lambda _, updates: _mean([update.loss for update in updates]),
    "right answers (%)": lambda rollout, _: None if rollout.accuracy is None else 100 * rollout.accuracy,
    SPEED: lambda rollout, _: rollout.tokens_per_step,
    "answer length (tokens)": lambda rollout, _: rollout.mean_length,
    "decoding threshold": lambda rollout, _: rollout.threshold,
    "gradient norm": lambda _, updates: _mean([update.grad_norm for update in updates]),
}
"""The panels in their order; one in which no run has anything to show is left out of the figure, not of the CSV."""
FROM_ZERO = ("loss", "gradient norm")


def draw_curves(stage: CurveStage, paper_file: Path, out: Path) -> None:
    """Write the figure (SVG, PNG) and its numbers (CSV), which are those of all panels.

    Raises:
        DataError: the metrics of a run or the paper's points are missing or malformed.
    """
    paper = PaperRollouts(paper_file)
    runs = [read_curve(run, paper.find(run.block_size) if stage.paper else {}) for run in stage.runs]
    shown = stage.curves or [name for name in CURVES if _known(name, runs)]
    figure = panels(len(shown), columns=3, width=6.0 if len(shown) == 1 else 3.6)
    for axes, name in zip(figure.axes, shown, strict=True):
        _draw(axes, name, runs)
    if len(runs) > 1 or stage.paper:
        _legend(figure)
    figure.suptitle(stage.title)
    save(figure, _header(stage), [line for run in runs for line in _lines(stage, run)], out)


def _known(name: CurveName, runs: list[Curve]) -> bool:
    return any(value is not None for run in runs for value in run.values[name])


def _draw(axes: Axes, name: CurveName, runs: list[Curve]) -> None:
    for run in runs:
        points = [(x, y) for x, y in zip(run.rollouts, run.values[name], strict=True) if y is not None]
        (line,) = axes.plot([x for x, _ in points], [y for _, y in points], label=run.name, linewidth=1.4)
        if name == SPEED and run.paper:
            _draw_paper(axes, run, line.get_color())
    axes.set(title=name, xlabel="rollout")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    if name in FROM_ZERO:
        axes.set_ylim(bottom=0)


def _draw_paper(axes: Axes, run: Curve, colour: Any) -> None:
    axes.plot(
        list(run.paper),
        list(run.paper.values()),
        label=f"{run.name}, paper",
        color=colour,
        linestyle="--",
        linewidth=1.1,
        marker="o",
        markerfacecolor="white",
        markersize=4,
        zorder=3,
    )


def _legend(figure: Figure) -> None:
    """One for all panels, each label once; beside the panels, where no curve is."""
    lines = {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}
    figure.legend(handles=list(lines.values()), loc="outside right center", frameon=False)


def _header(stage: CurveStage) -> list[str]:
    return ["run", "rollout", *CURVES, *([f"{SPEED} paper"] if stage.paper else [])]


def _lines(stage: CurveStage, run: Curve) -> list[list[str]]:
    """A line for each rollout. The paper has points of some only; the others of its points are in its own file."""
    lines: list[list[str]] = []
    for place, rollout in enumerate(run.rollouts):
        paper = [_text(run.paper.get(rollout))] if stage.paper else []
        lines.append([run.name, str(rollout), *(_text(run.values[name][place]) for name in CURVES), *paper])
    return lines


def read_curve(run: CurveRun, paper: dict[int, float]) -> Curve:
    """A run's metrics; values of a rollout's updates are averaged.

    Args:
        paper: the paper's tokens per denoising step by rollout, to stand beside them.

    Raises:
        DataError: there are none, or a line is malformed.
    """
    file = Path(run.folder) / "metrics.jsonl"
    updates: dict[int, list[UpdateRecord]] = {}
    rollouts: list[RolloutRecord] = []
    for number, record in iterate_jsonl(file):
        try:
            if record["kind"] == "update":
                update = UpdateRecord.model_validate(record)
                updates.setdefault(update.rollout, []).append(update)
            elif record["kind"] == "rollout":
                rollouts.append(RolloutRecord.model_validate(record))
        except (ValidationError, KeyError, TypeError) as error:
            raise DataError(f"{file}, line {number}: not a training record ({error})") from None
    if not rollouts:
        raise DataError(f"{file} has no rollouts")
    values = {
        name: [value(record, updates.get(record.rollout, [])) for record in rollouts] for name, value in CURVES.items()
    }
    return Curve(run.name, [record.rollout for record in rollouts], values, paper)


def _mean(values: list[Value]) -> Value:
    """Mean of those that are there."""
    known = [value for value in values if value is not None]
    return mean(known) if known else None


def _text(value: Value) -> str:
    return "" if value is None else f"{value:.5g}"

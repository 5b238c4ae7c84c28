"""Training curves: what a run did, rollout by rollout, several runs in one figure."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from pydantic import BaseModel, ValidationError

from opdlm.config.stages import CurveRun, CurveStage
from opdlm.errors import DataError
from opdlm.files import iterate_jsonl
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
    """A run: one value for each rollout, none where there is none."""

    name: str
    rollouts: list[int]
    values: dict[str, list[Value]]


Drawn = Callable[[RolloutRecord, list[UpdateRecord]], Value]
"""From the records of a rollout and its updates to the value of a curve."""
CURVES: dict[str, Drawn] = {
    "loss": lambda _, updates: _mean([update.loss for update in updates]),
    "right answers (%)": lambda rollout, _: None if rollout.accuracy is None else 100 * rollout.accuracy,
    "tokens per denoising step": lambda rollout, _: rollout.tokens_per_step,
    "answer length (tokens)": lambda rollout, _: rollout.mean_length,
    "decoding threshold": lambda rollout, _: rollout.threshold,
    "gradient norm": lambda _, updates: _mean([update.grad_norm for update in updates]),
}
"""The panels in their order; one in which no run has anything to show is left out of the figure, not of the CSV."""
FROM_ZERO = ("loss", "gradient norm")


def draw_curves(stage: CurveStage, out: Path) -> None:
    """Write the figure (SVG, PNG) and its numbers (CSV).

    Raises:
        DataError: the metrics of a run are missing or malformed.
    """
    runs = [read_curve(run) for run in stage.runs]
    shown = [name for name in CURVES if any(value is not None for run in runs for value in run.values[name])]
    figure = panels(len(shown), columns=3)
    for axes, name in zip(figure.axes, shown, strict=True):
        _draw(axes, name, runs)
    if len(runs) > 1:
        figure.axes[0].legend(frameon=False)
    figure.suptitle(stage.title)
    body = [
        [run.name, str(rollout), *(_text(run.values[name][place]) for name in CURVES)]
        for run in runs
        for place, rollout in enumerate(run.rollouts)
    ]
    save(figure, ["run", "rollout", *CURVES], body, out)


def _draw(axes: Axes, name: str, runs: list[Curve]) -> None:
    for run in runs:
        points = [(x, y) for x, y in zip(run.rollouts, run.values[name], strict=True) if y is not None]
        axes.plot([x for x, _ in points], [y for _, y in points], label=run.name, linewidth=1.4)
    axes.set(title=name, xlabel="rollout")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if name in FROM_ZERO:
        axes.set_ylim(bottom=0)


def read_curve(run: CurveRun) -> Curve:
    """A run's metrics; values of a rollout's updates are averaged.

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
    return Curve(run.name, [record.rollout for record in rollouts], values)


def _mean(values: list[Value]) -> Value:
    """Mean of those that are there."""
    known = [value for value in values if value is not None]
    return mean(known) if known else None


def _text(value: Value) -> str:
    return "" if value is None else f"{value:.5g}"

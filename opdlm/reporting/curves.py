"""Training curves: loss, answer length and tokens per step against rollouts, several runs in one figure."""

from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from matplotlib.ticker import MaxNLocator
from pydantic import BaseModel, ValidationError

from opdlm.config.stages import CurveRun, CurveStage
from opdlm.errors import DataError
from opdlm.files import iterate_jsonl
from opdlm.reporting.plotting import panels, save


class RolloutRecord(BaseModel):
    """What the figure shows of a rollout; answers that no decoding wrote have no tokens per step."""

    rollout: int
    mean_length: float
    tokens_per_step: float | None = None


class UpdateRecord(BaseModel):
    """What the figure shows of an optimiser update."""

    rollout: int
    loss: float


@dataclass(frozen=True, slots=True)
class Curve:
    """A run: one value for each rollout, none where there is none."""

    name: str
    rollouts: list[int]
    values: dict[str, list[float | None]]


LOSS, LENGTH, SPEED = "loss", "answer length (tokens)", "tokens per denoising step"


def draw_curves(stage: CurveStage, out: Path) -> None:
    """Write the figure (SVG, PNG) and its numbers (CSV).

    Raises:
        DataError: the metrics of a run are missing or malformed.
    """
    runs = [read_curve(run) for run in stage.runs]
    figure = panels(3)
    for axes, name in zip(figure.axes, (LOSS, LENGTH, SPEED), strict=True):
        for run in runs:
            shown = [(x, y) for x, y in zip(run.rollouts, run.values[name], strict=True) if y is not None]
            axes.plot([x for x, _ in shown], [y for _, y in shown], label=run.name, linewidth=1.4)
        axes.set(title=name, xlabel="rollout")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.axes[0].set_ylim(bottom=0)
    if len(runs) > 1:
        figure.axes[0].legend(frameon=False)
    figure.suptitle(stage.title)
    body = [
        [run.name, str(rollout), *(_text(run.values[name][place]) for name in (LOSS, LENGTH, SPEED))]
        for run in runs
        for place, rollout in enumerate(run.rollouts)
    ]
    save(figure, ["run", "rollout", LOSS, LENGTH, SPEED], body, out)


def read_curve(run: CurveRun) -> Curve:
    """A run's metrics, the losses of a rollout's updates averaged.

    Raises:
        DataError: there are none, or a line is malformed.
    """
    file = Path(run.folder) / "metrics.jsonl"
    losses: dict[int, list[float]] = {}
    rollouts: list[RolloutRecord] = []
    for number, record in iterate_jsonl(file):
        try:
            if record["kind"] == "update":
                update = UpdateRecord.model_validate(record)
                losses.setdefault(update.rollout, []).append(update.loss)
            elif record["kind"] == "rollout":
                rollouts.append(RolloutRecord.model_validate(record))
        except (ValidationError, KeyError, TypeError) as error:
            raise DataError(f"{file}, line {number}: not a training record ({error})") from None
    if not rollouts:
        raise DataError(f"{file} has no rollouts")
    values: dict[str, list[float | None]] = {
        LOSS: [mean(losses[record.rollout]) if record.rollout in losses else None for record in rollouts],
        LENGTH: [record.mean_length for record in rollouts],
        SPEED: [record.tokens_per_step for record in rollouts],
    }
    return Curve(run.name, [record.rollout for record in rollouts], values)


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"

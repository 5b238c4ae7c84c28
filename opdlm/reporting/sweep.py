"""The price of speed: accuracy and tokens per denoising step over several decodings of some models."""

from dataclasses import dataclass
from pathlib import Path

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from opdlm.config.stages import SweepPoint, SweepStage
from opdlm.errors import DataError
from opdlm.reporting.paper_figures import PaperSweep, SweepValue
from opdlm.reporting.plotting import panels, save
from opdlm.reporting.results import read_merged

MARKERS = "osD^vP*X"
AXES = {
    "tokens_per_step": "tokens per denoising step",
    "threshold": "threshold (1: one token a step)",
    "block_size": "tokens of a block",
}
GREY = "0.35"
BASE = 2
"""Block sizes are powers of two."""
LEAST_SPAN = 10.0
"""Points of accuracy that a panel shows at least, so that a difference of nothing does not look like one."""


Colour = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Point:
    """What was asked for, what we got, and what the paper has, if anything."""

    asked: SweepPoint
    accuracy: float
    tokens_per_step: float
    paper: SweepValue | None


@dataclass(frozen=True, slots=True)
class Looks:
    """A colour for each line, a marker for each decoding."""

    colours: dict[str, Colour]
    markers: dict[str, str]


def draw_sweep(stage: SweepStage, paper_file: Path, out: Path) -> None:
    """Write the figure (SVG, PNG) and its numbers (CSV).

    Raises:
        DataError: a result or the paper's points are missing or malformed, or a point has no place on the axis.
    """
    points = _read(stage, PaperSweep(paper_file))
    looks = _looks(stage)
    across = len(stage.benchmarks)
    quantities = ["accuracy"] if stage.across == "tokens_per_step" else ["accuracy", "tokens_per_step"]
    figure = panels(across * len(quantities), columns=across, width=5.0 if across == 1 else 3.6)
    for place, axes in enumerate(figure.axes):
        benchmark = stage.benchmarks[place % across]
        there = [point for point in points if point.asked.benchmark == benchmark]
        _draw_panel(axes, stage, quantities[place // across], there, looks)
        axes.set_title(benchmark)
    for place, quantity in enumerate(quantities):
        name = "accuracy (%)" if quantity == "accuracy" else AXES["tokens_per_step"]
        figure.axes[place * across].set_ylabel(name)
    _legend(figure, stage, looks)
    figure.suptitle(stage.title)
    save(figure, _header(stage), [_entries(stage, point) for point in points], out)


def _read(stage: SweepStage, paper: PaperSweep) -> list[Point]:
    points: list[Point] = []
    for asked in stage.points:
        if stage.across == "threshold" and asked.threshold is None:
            raise DataError(f"decoding '{asked.decoding}' has no threshold, so it has no place in '{stage.title}'")
        result = read_merged(Path(asked.merged))
        theirs = paper.find(asked.block_size, asked.threshold, asked.benchmark) if stage.paper else None
        points.append(Point(asked, result.accuracy, result.tokens_per_step, theirs))
    return points


def _line_of(stage: SweepStage, asked: SweepPoint) -> str:
    """Label of the line that joins a point with others."""
    return asked.decoding if stage.across == "block_size" else asked.series


def _looks(stage: SweepStage) -> Looks:
    lines = list(dict.fromkeys(_line_of(stage, asked) for asked in stage.points))
    decodings = list(dict.fromkeys(asked.decoding for asked in stage.points))
    # The last colour of the scale is too light on white.
    colours = {line: colormaps["viridis"](0.85 * k / max(1, len(lines) - 1)) for k, line in enumerate(lines)}
    # Elsewhere the axis or the colour already says which decoding it is.
    several = stage.across == "tokens_per_step"
    return Looks(colours, {name: MARKERS[k % len(MARKERS)] if several else "o" for k, name in enumerate(decodings)})


def _draw_panel(axes: Axes, stage: SweepStage, quantity: str, points: list[Point], looks: Looks) -> None:
    for label, colour in looks.colours.items():
        line = [point for point in points if _line_of(stage, point.asked) == label]
        ours = [(_x(stage, p.asked, p.tokens_per_step), _y(quantity, p), p.asked.decoding) for p in line]
        _draw_line(axes, ours, colour, looks, hollow=False)
        theirs = [
            (_x(stage, p.asked, p.paper.tokens_per_step), _y(quantity, p.paper), p.asked.decoding)
            for p in line
            if p.paper is not None
        ]
        _draw_line(axes, theirs, colour, looks, hollow=True)
    axes.set_xlabel(AXES[stage.across])
    if stage.across == "block_size":
        sizes = sorted({point.asked.block_size for point in points})
        axes.set_xscale("log", base=BASE)
        axes.set_xticks(sizes, labels=[str(size) for size in sizes])
        axes.minorticks_off()
    if quantity == "accuracy":
        _widen(axes)


def _x(stage: SweepStage, asked: SweepPoint, tokens_per_step: float) -> float:
    if stage.across == "block_size":
        return asked.block_size
    return tokens_per_step if stage.across == "tokens_per_step" else asked.threshold or 0.0


def _y(quantity: str, value: Point | SweepValue) -> float:
    return value.accuracy if quantity == "accuracy" else value.tokens_per_step


def _draw_line(axes: Axes, points: list[tuple[float, float, str]], colour: Colour, looks: Looks, hollow: bool) -> None:
    """Draw (x, y, decoding); the paper's are hollow and dashed."""
    line = sorted(points)
    axes.plot(
        [x for x, _, _ in line], [y for _, y, _ in line], color=colour, linewidth=1.2, linestyle="--" if hollow else "-"
    )
    for x, y, decoding in line:
        face = "white" if hollow else colour
        axes.plot(x, y, marker=looks.markers[decoding], color=colour, markerfacecolor=face, markersize=6, zorder=3)


def _widen(axes: Axes) -> None:
    bottom, top = axes.get_ylim()
    more = max(0.0, LEAST_SPAN - (top - bottom)) / 2
    axes.set_ylim(max(0.0, bottom - more), min(101.5, top + more))


def _legend(figure: Figure, stage: SweepStage, looks: Looks) -> None:
    several = len(set(looks.markers.values())) > 1
    plain = "" if several else "o"
    entries = [Line2D([], [], color=colour, marker=plain, label=_spelt(line)) for line, colour in looks.colours.items()]
    if several:
        entries += [
            Line2D([], [], color=GREY, linestyle="", marker=marker, label=_spelt(name))
            for name, marker in looks.markers.items()
        ]
    if stage.paper:
        entries.append(Line2D([], [], color=GREY, linestyle="--", marker="o", markerfacecolor="white", label="paper"))
    figure.legend(handles=entries, loc="outside right center", frameon=False)


def _spelt(label: str) -> str:
    """A decoding's label is its threshold, which needs its name in a legend."""
    return f"threshold {label}" if label.replace(".", "", 1).isdigit() else label


def _header(stage: SweepStage) -> list[str]:
    ours = ["benchmark", "model", "block size", "decoding", "tokens/step", "accuracy"]
    theirs = ["tokens/step paper", "accuracy paper", "tokens/step difference", "accuracy difference"]
    return ours + (theirs if stage.paper else [])


def _entries(stage: SweepStage, point: Point) -> list[str]:
    asked = point.asked
    ours = [asked.benchmark, asked.series, str(asked.block_size), asked.decoding]
    ours += [f"{point.tokens_per_step:.3f}", f"{point.accuracy:.2f}"]
    if not stage.paper:
        return ours
    if point.paper is None:
        return [*ours, "", "", "", ""]
    speed, accuracy = point.paper.tokens_per_step, point.paper.accuracy
    differences = [f"{point.tokens_per_step - speed:+.3f}", f"{point.accuracy - accuracy:+.2f}"]
    return [*ours, f"{speed:.2f}", f"{accuracy:.1f}", *differences]

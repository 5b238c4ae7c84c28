"""The price of speed: accuracy against tokens per denoising step over several decodings of one model."""

from pathlib import Path

from matplotlib import colormaps

from opdlm.config.stages import SweepStage
from opdlm.reporting.plotting import panels, save
from opdlm.reporting.results import read_merged


def draw_sweep(stage: SweepStage, out: Path) -> None:
    """Write the figure (SVG, PNG) and its numbers (CSV).

    Raises:
        DataError: a result is missing or malformed.
    """
    labels = list(dict.fromkeys(point.label for point in stage.points))
    colours = {label: colormaps["viridis"](place / max(1, len(labels) - 1)) for place, label in enumerate(labels)}
    figure = panels(len(stage.benchmarks))
    body: list[list[str]] = []
    for axes, benchmark in zip(figure.axes, stage.benchmarks, strict=True):
        results = {
            point.label: read_merged(Path(point.merged)) for point in stage.points if point.benchmark == benchmark
        }
        line = sorted((result.tokens_per_step, result.accuracy) for result in results.values())
        axes.plot([speed for speed, _ in line], [accuracy for _, accuracy in line], color="0.75", zorder=1)
        for label, result in results.items():
            # A lower threshold is faster: drawn larger and first, it stays visible under its slower neighbours.
            size = 30 + 14 * labels.index(label)
            place = 2 + len(labels) - labels.index(label)
            axes.scatter(
                result.tokens_per_step, result.accuracy, s=size, color=[colours[label]], label=label, zorder=place
            )
            body.append([benchmark, label, f"{result.tokens_per_step:.3f}", f"{result.accuracy:.2f}"])
        lowest = min(accuracy for _, accuracy in line)
        axes.set(title=benchmark, xlabel="tokens per denoising step", ylim=(max(0.0, lowest - 8), 101.5))
    figure.axes[0].set_ylabel("accuracy (%)")
    figure.axes[-1].legend(title="threshold", loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.suptitle(stage.title)
    save(figure, ["benchmark", "decoding", "tokens/step", "accuracy"], body, out)

"""The price of speed: accuracy against tokens per denoising step over several decodings of one model."""

from pathlib import Path

from opdlm.config.stages import SweepStage
from opdlm.reporting.plotting import panels, save
from opdlm.reporting.results import read_merged


def draw_sweep(stage: SweepStage, out: Path) -> None:
    """Write the figure (SVG, PNG) and its numbers (CSV).

    Raises:
        DataError: a result is missing or malformed.
    """
    figure = panels(len(stage.benchmarks))
    body: list[list[str]] = []
    for axes, benchmark in zip(figure.axes, stage.benchmarks, strict=True):
        points = [
            (point.label, read_merged(Path(point.merged))) for point in stage.points if point.benchmark == benchmark
        ]
        points.sort(key=lambda point: point[1].tokens_per_step)
        speeds = [result.tokens_per_step for _, result in points]
        accuracies = [result.accuracy for _, result in points]
        axes.plot(speeds, accuracies, marker="o", markersize=4, color="#1f5fa8")
        for place, ((label, _), speed, accuracy) in enumerate(zip(points, speeds, accuracies, strict=True)):
            # Neighbours are close: labels right and left in turn.
            beside, side = ((-6, -6), "right") if place % 2 else ((6, 3), "left")
            axes.annotate(label, (speed, accuracy), beside, textcoords="offset points", ha=side, fontsize=8)
            body.append([benchmark, label, f"{speed:.3f}", f"{accuracy:.2f}"])
        axes.margins(0.15)
        axes.set(title=benchmark, xlabel="tokens per denoising step")
    figure.axes[0].set_ylabel("accuracy (%)")
    figure.suptitle(stage.title)
    save(figure, ["benchmark", "decoding", "tokens/step", "accuracy"], body, out)

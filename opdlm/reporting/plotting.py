"""How all figures look, and how they are saved."""

import io
import tempfile
from pathlib import Path

import matplotlib
from matplotlib import pyplot
from matplotlib.figure import Figure

from opdlm.files import sync_folder, write_text
from opdlm.reporting.layouts import csv_text

STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "font.size": 10,
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "svg.hashsalt": "opdlm",  # the same figure is the same file
}


def panels(count: int, width: float = 3.6, height: float = 3.2, columns: int | None = None) -> Figure:
    """A figure with `count` panels of so many inches, side by side or in rows of `columns`, off screen."""
    matplotlib.use("Agg")
    across = min(count, columns or count)
    down = -(-count // across)
    with pyplot.rc_context(STYLE):
        figure, _ = pyplot.subplots(
            down, across, figsize=(width * across, height * down), squeeze=False, layout="constrained"
        )
    for surplus in figure.axes[count:]:
        surplus.remove()
    return figure


def save(figure: Figure, header: list[str], body: list[list[str]], out: Path) -> None:
    """Write the figure as SVG (`out`) and PNG and its numbers as CSV, side by side."""
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out.with_suffix(".csv"), csv_text(header, body))
    with pyplot.rc_context(STYLE):
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".figure.") as folder:
            picture = Path(folder) / "figure.png"
            figure.savefig(picture)
            picture.replace(out.with_suffix(".png"))
        sync_folder(out.parent)
        drawing = io.StringIO()
        figure.savefig(drawing, format="svg", metadata={"Date": None})
    write_text(out, drawing.getvalue())
    pyplot.close(figure)

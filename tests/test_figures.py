"""Figures hold what their CSV says, and the paper's points where it has some."""

import csv
from pathlib import Path
from typing import get_args

import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from opdlm.config.base import from_json
from opdlm.config.reporting import CurveName
from opdlm.config.stages import (
    CurveRun,
    CurveStage,
    SweepPoint,
    SweepStage,
)
from opdlm.errors import DataError, SettingsError
from opdlm.files import write_jsonl
from opdlm.reporting.curves import CURVES, draw_curves
from opdlm.reporting.paper_figures import PaperRollouts, PaperSweep
from opdlm.reporting.sweep import draw_sweep
from tests.test_reporting import write_merged

ROOT = Path(__file__).parents[1]
PAPER_SWEEP = ROOT / "config/paper_sweep.csv"
PAPER_ROLLOUTS = ROOT / "config/paper_tokens_per_step.csv"
PUBLISHED = ROOT.parent / "shared/paper_tables/figures3_6_decoding_sweeps.csv"
needs_published = pytest.mark.skipif(not PUBLISHED.is_file(), reason="the paper's figures are not here")


def sweep_stage(folder: Path, across: str, paper: bool) -> SweepStage:
    """Two models and two decodings on two benchmarks; the accuracy of the smaller blocks is higher by 10."""
    points = [
        SweepPoint(
            series=f"blocks of {size}",
            decoding=decoding,
            threshold=threshold,
            block_size=size,
            benchmark=benchmark,
            merged=write_merged(folder / f"{size}{decoding}{benchmark}.json", accuracy - size, speed, []),
        )
        for benchmark in ("MATH-500", "TinyMath")
        for size in (4, 8)
        for decoding, threshold, accuracy, speed in (("0.9", 0.9, 70.0, 2.0), ("static", 1.0, 76.0, 1.0))
    ]
    return SweepStage.model_validate(
        {
            "title": "Sweep",
            "across": across,
            "paper": paper,
            "benchmarks": ["MATH-500", "TinyMath"],
            "points": [point.model_dump() for point in points],
        }
    )


def drawn(stage: SweepStage, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Figure:
    """The figure itself, before it is saved."""
    kept: list[Figure] = []
    monkeypatch.setattr("opdlm.reporting.sweep.save", lambda figure, *_: kept.append(figure))
    draw_sweep(stage, PAPER_SWEEP, folder / "sweep.svg")
    return kept[0]


def lines_of(axes: Axes, style: str = "-") -> list[list[tuple[float, float]]]:
    """The lines of a panel, markers aside."""
    lines = [line for line in axes.get_lines() if line.get_linestyle() == style and line.get_marker() == "None"]
    return [[(float(x), float(y)) for x, y in line.get_xydata()] for line in lines if len(line.get_xydata())]


def test_sweep_beside_the_paper(tmp_path: Path) -> None:
    out = tmp_path / "figures" / "sweep.svg"
    draw_sweep(sweep_stage(tmp_path, "tokens_per_step", paper=True), PAPER_SWEEP, out)
    header, *records = csv.reader(out.with_suffix(".csv").open())
    assert header[4:] == [
        "tokens/step", "accuracy", "tokens/step paper", "accuracy paper", "tokens/step difference",
        "accuracy difference",
    ]  # fmt: skip
    assert records[0] == [
        "MATH-500", "blocks of 4", "4", "0.9", "2.000", "66.00", "1.91", "71.6", "+0.090", "-5.60"
    ]  # fmt: skip
    assert records[4] == ["TinyMath", "blocks of 4", "4", "0.9", "2.000", "66.00", "", "", "", ""]
    assert len(records) == 8
    assert out.read_text().startswith("<?xml")
    assert out.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"


def test_a_line_joins_the_decodings_of_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = drawn(sweep_stage(tmp_path, "tokens_per_step", paper=False), tmp_path, monkeypatch)
    assert [axes.get_title() for axes in figure.axes] == ["MATH-500", "TinyMath"]
    assert lines_of(figure.axes[0]) == [[(1, 72), (2, 66)], [(1, 68), (2, 62)]]
    assert lines_of(figure.axes[0], "--") == []


def test_across_thresholds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accuracy above, tokens per step below; the paper's line has the colour of ours."""
    figure = drawn(sweep_stage(tmp_path, "threshold", paper=True), tmp_path, monkeypatch)
    above, _, below, _ = figure.axes
    assert lines_of(above) == [[(0.9, 66), (1, 72)], [(0.9, 62), (1, 68)]]
    assert lines_of(below) == [[(0.9, 2), (1, 1)]] * 2
    assert lines_of(above, "--")[0] == [(0.9, 71.6), (1.0, 72.8)]
    assert lines_of(below, "--")[0] == [(0.9, 1.91), (1.0, 1.0)]
    ours, theirs = (
        [
            to_hex(line.get_color())
            for line in above.get_lines()
            if line.get_linestyle() == style and len(line.get_xydata()) > 1
        ]
        for style in ("-", "--")
    )
    assert ours == theirs
    assert len(set(ours)) == 2


def test_across_block_sizes_a_line_joins_the_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = drawn(sweep_stage(tmp_path, "block_size", paper=False), tmp_path, monkeypatch)
    assert lines_of(figure.axes[0]) == [[(4, 66), (8, 62)], [(4, 72), (8, 68)]]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["4", "8"]


def test_a_decoding_without_threshold_has_no_place_across_thresholds(tmp_path: Path) -> None:
    stage = sweep_stage(tmp_path, "threshold", paper=False)
    without = [stage.points[0].model_copy(update={"decoding": "static 2", "threshold": None})]
    with pytest.raises(DataError, match=r"decoding 'static 2' has no threshold"):
        draw_sweep(stage.model_copy(update={"points": without}), PAPER_SWEEP, tmp_path / "sweep.svg")


def test_a_missing_result_of_a_figure_is_named(tmp_path: Path) -> None:
    stage = sweep_stage(tmp_path, "threshold", paper=False)
    Path(stage.points[0].merged).unlink()
    with pytest.raises(DataError, match=r"40\.9MATH-500\.json does not exist"):
        draw_sweep(stage, PAPER_SWEEP, tmp_path / "sweep.svg")


def write_metrics(folder: Path, update: dict[str, float], rollout: dict[str, float | None]) -> CurveRun:
    """A run of one rollout with two updates, whose losses and gradient norms are 1 and 2."""
    records: list[dict[str, object]] = [
        {"kind": "update", "rollout": 1, "update": number, "loss": float(number), **dict.fromkeys(update, number)}
        for number in (1, 2)
    ]
    records += [{"kind": "rollout", "rollout": 1, "mean_length": 8.5, **rollout}]
    write_jsonl(folder / "metrics.jsonl", records)
    return CurveRun(name=folder.name, folder=str(folder), block_size=8)


def curve_stage(*runs: CurveRun, curves: list[CurveName] | None = None, paper: bool = False) -> CurveStage:
    return CurveStage(title="Training", runs=list(runs), curves=curves or [], paper=paper)


def test_training_curves(tmp_path: Path) -> None:
    runs = [
        write_metrics(tmp_path / "one", {}, {"tokens_per_step": None, "accuracy": None}),
        write_metrics(
            tmp_path / "two", {"grad_norm": 0.0}, {"tokens_per_step": 2.0, "accuracy": 0.25, "threshold": 0.9}
        ),
    ]
    out = tmp_path / "training.svg"
    draw_curves(curve_stage(*runs), PAPER_ROLLOUTS, out)
    header, *records = csv.reader(out.with_suffix(".csv").open())
    assert header[2:] == [
        "loss",
        "right answers (%)",
        "tokens per denoising step",
        "answer length (tokens)",
        "decoding threshold",
        "gradient norm",
    ]
    assert records == [["one", "1", "1.5", "", "", "8.5", "", ""], ["two", "1", "1.5", "25", "2", "8.5", "0.9", "1.5"]]
    (tmp_path / "two" / "metrics.jsonl").write_text('{"kind": "rollout", "rollout": 1}\n')
    with pytest.raises(DataError, match=r"two/metrics\.jsonl, line 1"):
        draw_curves(curve_stage(*runs), PAPER_ROLLOUTS, out)


def curves_drawn(stage: CurveStage, paper: Path, monkeypatch: pytest.MonkeyPatch) -> list[Axes]:
    kept: list[Axes] = []
    monkeypatch.setattr("opdlm.reporting.curves.save", lambda figure, *_: kept.extend(figure.axes))
    draw_curves(stage, paper, Path("one.svg"))
    return kept


def test_a_curve_of_which_a_run_knows_nothing_has_no_panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    panels = curves_drawn(curve_stage(write_metrics(tmp_path / "one", {}, {})), PAPER_ROLLOUTS, monkeypatch)
    assert [axes.get_title() for axes in panels] == ["loss", "answer length (tokens)"]


def test_the_papers_tokens_per_step_beside_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = tmp_path / "paper.csv"
    points.write_text("block_size,rollout,tokens_per_step\n4,0,1.25\n8,0,1.5\n8,1,1.75\n")
    run = write_metrics(tmp_path / "one", {}, {"tokens_per_step": 2.0})
    stage = curve_stage(run, curves=["tokens per denoising step"], paper=True)
    (panel,) = curves_drawn(stage, points, monkeypatch)
    ours, theirs = panel.get_lines()
    assert ours.get_xydata().tolist() == [[1, 2]]
    assert theirs.get_xydata().tolist() == [[0, 1.5], [1, 1.75]]
    assert (theirs.get_color(), theirs.get_linestyle()) == (ours.get_color(), "--")
    monkeypatch.undo()
    draw_curves(stage, points, tmp_path / "one.svg")
    header, record = csv.reader((tmp_path / "one.csv").open())
    assert (header[-1], record[-1]) == ("tokens per denoising step paper", "1.75")


def test_every_name_of_a_panel_has_a_curve() -> None:
    assert list(CURVES) == list(get_args(CurveName))
    with pytest.raises(SettingsError, match=r"curves\.0: Input should be 'loss', .* \(got 'speed'\)"):
        from_json(CurveStage, '{"title": "t", "runs": [], "curves": ["speed"], "paper": false}')


@pytest.mark.parametrize("reader", [PaperSweep, PaperRollouts])
def test_damaged_points_of_the_paper_are_named(reader: type[PaperSweep | PaperRollouts], tmp_path: Path) -> None:
    file = tmp_path / "paper.csv"
    with pytest.raises(DataError, match=r"paper\.csv does not exist"):
        reader(file)
    file.write_text("block_size,rollout,tokens_per_step,threshold,benchmark,accuracy\nfour,1,1,1,A,1\n")
    with pytest.raises(DataError, match=r"paper\.csv, line 2: not block_size,.* \(block_size: .*integer"):
        reader(file)


def published(figures: tuple[str, ...]) -> list[dict[str, str]]:
    with open(PUBLISHED, newline="") as stream:
        return [record for record in csv.DictReader(stream) if record["table"].startswith(figures)]


@needs_published
def test_the_papers_sweeps_are_the_published_ones() -> None:
    sweep, seen = PaperSweep(PAPER_SWEEP), set()
    for record in published(("Fig3", "Fig4", "Fig5")):
        quantity, threshold, block = record["setting"].split("; ")
        key = (int(block.split()[1]), float(threshold.split()[1]), record["benchmark"])
        value = sweep.find(*key)
        assert value is not None, key
        assert float(record["value"]) == (value.accuracy if quantity == "accuracy" else value.tokens_per_step), key
        seen.add(key)
    assert len(seen) == 45 == len(PAPER_SWEEP.read_text().splitlines()) - 1


@needs_published
def test_the_papers_tokens_per_step_are_the_published_ones() -> None:
    points = {
        (record["model"].removeprefix("training rollouts block "), record["setting"].removeprefix("rollout step ")): (
            float(record["value"])
        )
        for record in published(("Fig6",))
        if "mean" not in record["setting"]
    }
    rollouts = PaperRollouts(PAPER_ROLLOUTS)
    ours = {(str(size), str(at)): value for size in (4, 8, 16) for at, value in rollouts.find(size).items()}
    assert ours == points
    assert len(points) == 30

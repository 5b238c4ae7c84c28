"""Tables say where each number is from and leave empty what is missing; figures hold what their CSV says."""

import csv
import json
from pathlib import Path

import pytest
from matplotlib.axes import Axes

from opdlm.config.stages import (
    CellHashes,
    CellSource,
    CurveRun,
    CurveStage,
    SweepPoint,
    SweepStage,
    TableLine,
    TableStage,
)
from opdlm.errors import DataError
from opdlm.files import write_json, write_jsonl
from opdlm.records import Merged
from opdlm.reporting.curves import draw_curves
from opdlm.reporting.sweep import draw_sweep
from opdlm.reporting.tables import write_table

HASHES = CellHashes(rows="r", model="m", generate="g", score="s")


def write_merged(file: Path, accuracy: float, tokens_per_step: float, samples: list[str]) -> str:
    result = Merged(
        accuracy=accuracy,
        published_accuracy=accuracy,
        accuracy_by_subdivision={},
        accuracy_by_seed=[accuracy],
        accuracy_std=None,
        rows=200,
        reasons={"correct": 100, "wrong": 100},
        mean_length=10,
        tokens_per_step=tokens_per_step,
        sample_files=samples,
        score_files=["scores.json"],
    )
    write_json(file, result.model_dump())
    return str(file)


def source(benchmark: str, merged: str, samples: list[str]) -> CellSource:
    return CellSource(
        benchmark=benchmark, paper_column=benchmark, merged=merged, samples=samples, logs=["a.log"], hashes=HASHES
    )


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    file = tmp_path / "paper.csv"
    file.write_text("table,row,benchmark,value,std\ntable1,OPDLM-4B,GSM8K,87.6,1.5\n")
    return file


@pytest.fixture
def stage(tmp_path: Path) -> TableStage:
    gsm8k = write_merged(tmp_path / "a.json", 90.04, 1.5, ["a.jsonl"])
    tiny = write_merged(tmp_path / "b.json", 50, 2.5, ["b.jsonl"])
    gone = str(tmp_path / "gone.json")
    ours = [source("GSM8K", gsm8k, ["a.jsonl"]), source("TinyMath", tiny, ["b.jsonl"])]
    lacking = [source("GSM8K", gsm8k, ["a.jsonl"]), source("TinyMath", gone, ["c.jsonl"])]
    lines = [
        TableLine(label="ours", model="run/x", decoding="static", paper_row="OPDLM-4B", cells=ours),
        TableLine(label="lacking", model="run/y", decoding="static", paper_row=None, cells=lacking),
    ]
    return TableStage(title="A table", paper_table="table1", lines=lines)


def test_table_has_the_papers_number_beside_ours(stage: TableStage, paper: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "table1.csv"
    write_table(stage, paper, out)
    ours, lacking = csv.DictReader(out.open())
    assert list(ours) == [
        "method", "GSM8K", "GSM8K paper", "GSM8K difference",
        "TinyMath", "TinyMath paper", "TinyMath difference", "average", "tokens/step",
    ]  # fmt: skip
    assert list(ours.values()) == ["ours", "90.0", "87.6", "+2.4", "50.0", "", "", "70.0", "2.00"]
    assert list(lacking.values()) == ["lacking", "90.0", "", "", "", "", "", "", ""]


def test_table_says_where_numbers_are_from(stage: TableStage, paper: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "table1.csv"
    write_table(stage, paper, out)
    table = json.loads(out.with_suffix(".json").read_text())
    cell = table["lines"][0]["cells"][0]
    assert cell["value"] == 90.04
    assert (cell["paper"], cell["paper_std"]) == (87.6, 1.5)
    assert cell["sample_files"] == ["a.jsonl"]
    assert cell["log_files"] == ["a.log"]
    assert cell["hashes"] == HASHES.model_dump()
    assert cell["result"]["reasons"] == {"correct": 100, "wrong": 100}
    missing = table["lines"][1]["cells"][1]
    assert missing["value"] is None
    assert "gone.json does not exist" in missing["missing"]
    assert "| ours " in out.with_suffix(".md").read_text()
    assert "<td>ours</td>" in out.with_suffix(".html").read_text()


def test_a_result_of_other_samples_is_refused(stage: TableStage, paper: Path, tmp_path: Path) -> None:
    write_merged(tmp_path / "a.json", 90.04, 1.5, ["another.jsonl"])
    with pytest.raises(DataError, match=r"a\.json was merged from other sample files"):
        write_table(stage, paper, tmp_path / "table1.csv")


def test_a_damaged_result_is_named(stage: TableStage, paper: Path, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DataError, match=r"a\.json is not valid JSON"):
        write_table(stage, paper, tmp_path / "table1.csv")


def test_sweep(tmp_path: Path) -> None:
    points = [
        SweepPoint(
            label=label,
            benchmark=benchmark,
            merged=write_merged(tmp_path / f"{label}{benchmark}.json", accuracy, speed, []),
        )
        for benchmark in ("A", "B")
        for label, accuracy, speed in (("0.5", 70, 3.0), ("static", 90, 1.0))
    ]
    out = tmp_path / "figures" / "sweep.svg"
    draw_sweep(SweepStage(title="Sweep", benchmarks=["A", "B"], points=points), out)
    records = list(csv.reader(out.with_suffix(".csv").open()))
    assert records[1:3] == [["A", "0.5", "3.000", "70.00"], ["A", "static", "1.000", "90.00"]]
    assert len(records) == 5
    assert out.read_text().startswith("<?xml")
    assert out.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"


def write_metrics(folder: Path, update: dict[str, float], rollout: dict[str, float | None]) -> CurveRun:
    """A run of one rollout with two updates, whose losses and gradient norms are 1 and 2."""
    records: list[dict[str, object]] = [
        {"kind": "update", "rollout": 1, "update": number, "loss": float(number), **dict.fromkeys(update, number)}
        for number in (1, 2)
    ]
    records += [{"kind": "rollout", "rollout": 1, "mean_length": 8.5, **rollout}]
    write_jsonl(folder / "metrics.jsonl", records)
    return CurveRun(name=folder.name, folder=str(folder))


def test_training_curves(tmp_path: Path) -> None:
    runs = [
        write_metrics(tmp_path / "one", {}, {"tokens_per_step": None, "accuracy": None}),
        write_metrics(
            tmp_path / "two", {"grad_norm": 0.0}, {"tokens_per_step": 2.0, "accuracy": 0.25, "threshold": 0.9}
        ),
    ]
    out = tmp_path / "training.svg"
    draw_curves(CurveStage(title="Training", runs=runs), out)
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
        draw_curves(CurveStage(title="Training", runs=runs), out)


def test_a_curve_of_which_a_run_knows_nothing_has_no_panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []
    monkeypatch.setattr("opdlm.reporting.curves.save", lambda figure, *_: titles.extend(map(title, figure.axes)))
    draw_curves(CurveStage(title="t", runs=[write_metrics(tmp_path / "one", {}, {})]), tmp_path / "one.svg")
    assert titles == ["loss", "answer length (tokens)"]


def title(axes: Axes) -> str:
    return str(axes.get_title())

"""Tables say where each number is from and leave empty what is missing."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from opdlm.config.base import from_json
from opdlm.config.stages import (
    CellHashes,
    CellOrigin,
    CellSource,
    TableLine,
    TableStage,
)
from opdlm.errors import DataError
from opdlm.files import write_json
from opdlm.identity import canonical_json
from opdlm.records import Cost
from opdlm.reporting.tables import write_table
from opdlm.verdicts import Merged

ROOT = Path(__file__).parents[1]
HASHES = CellHashes(rows="r", model="m", generate="g", score="s")


def write_merged(file: Path, accuracy: float, tokens_per_step: float, samples: list[str], **more: Any) -> str:
    result = Merged(
        **{
            "accuracy": accuracy,
            "published_accuracy": accuracy,
            "accuracy_by_subdivision": {},
            "accuracy_by_seed": [accuracy],
            "accuracy_std": None,
            "rows": 200,
            "reasons": {"correct": 100, "wrong": 100},
            "mean_length": 10,
            "tokens_per_step": tokens_per_step,
            "sample_files": samples,
            "score_files": ["scores.json"],
            **more,
        }
    )
    write_json(file, result.model_dump())
    return str(file)


def write_cost(file: Path, seconds: float, devices: int) -> str:
    write_json(file, Cost(seconds=seconds, devices=devices, device="H200").model_dump())
    return str(file)


def source(column: str, merged: str, samples: list[str], **more: Any) -> CellSource:
    given = {"costs": [], "logs": ["a.log"], "training": None, "hashes": HASHES, **more}
    return CellSource(
        column=column, origin=CellOrigin(benchmark=column, merged=merged, samples=samples, **given), missing=None
    )


def nothing(column: str, reason: str) -> CellSource:
    return CellSource(column=column, origin=None, missing=reason)


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    file = tmp_path / "paper.csv"
    file.write_text(
        "table,row,benchmark,value,std\ntable1,OPDLM-4B,GSM8K,87.6,\ntable1,LLaDA,GSM8K,78.6,\n"
        "table1,LLaDA,TinyMath,0.4,\n"
    )
    return file


@pytest.fixture
def stage(tmp_path: Path) -> TableStage:
    gsm8k = write_merged(tmp_path / "a.json", 90.04, 1.5, ["a.jsonl"], published_accuracy=80.0)
    tiny = write_merged(tmp_path / "b.json", 50, 2.5, ["b.jsonl"])
    gone = str(tmp_path / "gone.json")
    took = [write_cost(tmp_path / "a0.json", 1800, 1), write_cost(tmp_path / "a1.json", 900, 2)]
    trained = write_cost(tmp_path / "trained.json", 3600, 8)
    ours = [
        source("GSM8K", gsm8k, ["a.jsonl"], costs=took, training=trained),
        source("TinyMath", tiny, ["b.jsonl"], costs=[str(tmp_path / "no.json"), str(tmp_path / "none.json")]),
    ]
    lacking = [source("GSM8K", gsm8k, ["a.jsonl"]), source("TinyMath", gone, ["c.jsonl"])]
    theirs = [nothing("GSM8K", "not decoded here"), nothing("TinyMath", "not decoded here")]
    lines = [
        TableLine(label="ours", model="run/x", decoding="static", paper_row="OPDLM-4B", cells=ours),
        TableLine(label="lacking", model="run/y", decoding="static", paper_row=None, cells=lacking),
        TableLine(label="theirs", model=None, decoding=None, paper_row="LLaDA", cells=theirs),
    ]
    return TableStage(title="A table", paper_table="table1", lines=lines)


def written(stage: TableStage, paper: Path, folder: Path) -> tuple[list[dict[str, str]], Any]:
    """Records of the CSV file and the JSON beside it, from settings as a script reads them."""
    out = folder / "out" / "table1.csv"
    write_table(from_json(TableStage, canonical_json(stage)), paper, out)
    with open(out, newline="") as stream:
        return [*csv.DictReader(stream)], json.loads(out.with_suffix(".json").read_text())


def test_table_has_the_papers_number_beside_ours(stage: TableStage, paper: Path, tmp_path: Path) -> None:
    (ours, lacking, theirs), _ = written(stage, paper, tmp_path)
    assert list(ours) == [
        "method", "GSM8K", "GSM8K paper", "GSM8K difference",
        "TinyMath", "TinyMath paper", "TinyMath difference", "average", "average paper", "tokens/step",
    ]  # fmt: skip
    assert list(ours.values()) == ["ours", "90.0", "87.6", "+2.4", "50.0", "", "", "70.0", "", "2.00"]
    assert list(lacking.values()) == ["lacking", "90.0", "", "", "", "", "", "", "", ""]
    assert list(theirs.values()) == ["theirs", "", "78.6", "", "", "0.4", "", "", "39.5", ""]


def test_deviations_over_seeds_have_columns_where_there_are_any(tmp_path: Path, paper: Path) -> None:
    paper.write_text("table,row,benchmark,value,std\ntable9,OPDLM-4B,AIME-24,14.4,3.74\n")
    aime = write_merged(tmp_path / "a.json", 12.25, 1, ["a.jsonl"], accuracy_std=1.26, accuracy_by_seed=[11.0, 13.5])
    math = write_merged(tmp_path / "b.json", 70, 1, ["b.jsonl"])
    cells = [source("AIME-24", aime, ["a.jsonl"]), source("MATH-500", math, ["b.jsonl"])]
    line = TableLine(label="ours", model="run/x", decoding="static", paper_row="OPDLM-4B", cells=cells)
    (record,), table = written(TableStage(title="t", paper_table="table9", lines=[line]), paper, tmp_path)
    assert {name: text for name, text in record.items() if "AIME" in name} == {
        "AIME-24": "12.2",
        "AIME-24 paper": "14.4",
        "AIME-24 difference": "-2.2",
        "AIME-24 std": "1.3",
        "AIME-24 paper std": "3.7",
    }
    assert "MATH-500 std" not in record
    cell = table["lines"][0]["cells"][0]
    assert (cell["std"], cell["paper_std"], cell["difference"]) == (1.26, 3.74, -2.2)


def test_table_says_where_numbers_are_from(stage: TableStage, paper: Path, tmp_path: Path) -> None:
    _, table = written(stage, paper, tmp_path)
    cell = table["lines"][0]["cells"][0]
    assert cell["value"] == 90.04
    assert (cell["paper"], cell["paper_std"]) == (87.6, None)
    assert (cell["difference"], cell["published_difference"]) == (2.4, -7.6)
    assert cell["origin"]["samples"] == ["a.jsonl"]
    assert cell["origin"]["logs"] == ["a.log"]
    assert cell["origin"]["hashes"] == HASHES.model_dump()
    assert cell["result"]["reasons"] == {"correct": 100, "wrong": 100}
    assert cell["result"]["published_accuracy"] == 80.0
    missing = table["lines"][1]["cells"][1]
    assert missing["value"] is None
    assert "gone.json does not exist" in missing["missing"]
    theirs = table["lines"][2]["cells"][0]
    assert (theirs["value"], theirs["paper"], theirs["missing"]) == (None, 78.6, "not decoded here")
    assert theirs["origin"] is theirs["result"] is theirs["evaluation"] is None
    out = tmp_path / "out" / "table1.csv"
    assert "| ours " in out.with_suffix(".md").read_text()
    assert "<td>ours</td>" in out.with_suffix(".html").read_text()


def test_table_says_what_numbers_took(stage: TableStage, paper: Path, tmp_path: Path) -> None:
    """Half an hour of one GPU and a quarter of two, after an hour of eight."""
    _, table = written(stage, paper, tmp_path)
    known, unknown = table["lines"][0]["cells"]
    assert known["evaluation"] == {"seconds": 2700.0, "gpu_hours": 1.0, "devices": ["H200"], "missing": None}
    assert known["training"] == {"seconds": 3600.0, "gpu_hours": 8.0, "devices": ["H200"], "missing": None}
    assert unknown["evaluation"]["seconds"] is unknown["evaluation"]["gpu_hours"] is None
    assert unknown["evaluation"]["missing"] == f"{tmp_path / 'no.json'} and 1 more does not exist"
    assert unknown["training"] is None


def test_a_damaged_cost_is_named(stage: TableStage, paper: Path, tmp_path: Path) -> None:
    (tmp_path / "a1.json").write_text('{"seconds": 1}')
    with pytest.raises(DataError, match=r"a1\.json: devices: Field required"):
        written(stage, paper, tmp_path)


def test_a_result_of_other_samples_is_refused(stage: TableStage, paper: Path, tmp_path: Path) -> None:
    write_merged(tmp_path / "a.json", 90.04, 1.5, ["another.jsonl"])
    with pytest.raises(DataError, match=r"a\.json was merged from other sample files"):
        write_table(stage, paper, tmp_path / "table1.csv")


def test_a_damaged_result_is_named(stage: TableStage, paper: Path, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DataError, match=r"a\.json is not valid JSON"):
        write_table(stage, paper, tmp_path / "table1.csv")

"""The figure of decoding speed shows the last measurement of each thing; damage is named with line and column."""

import csv
from pathlib import Path

import pytest

from opdlm.config.stages import RolloutStage
from opdlm.errors import DataError
from opdlm.reporting.rollout import Measurement, draw_rollout, read_measurements

COLUMNS = [
    "date", "commit", "device", "shape", "strategy", "sequences", "requests", "prompt_tokens", "new_tokens",
    "tokens_per_second",
    "forwards_per_token", "tokens_per_step", "ms_per_forward", "tflops", "gbps", "floor_tokens_per_second",
    "fraction_of_floor", "ceiling_tflops", "ceiling_gbps", "reference_tokens_per_second", "ratio_to_reference",
]  # fmt: skip


def line(shape: str, strategy: str, speed: str, **changes: str) -> dict[str, str]:
    given = {
        "date": "2026-11-24",
        "commit": "abc",
        "device": "H100",
        "shape": shape,
        "strategy": strategy,
        "sequences": "128",
        "requests": "128",
        "prompt_tokens": "100",
        "new_tokens": "64",
        "tokens_per_second": speed,
        "floor_tokens_per_second": "4000",
        "fraction_of_floor": "0.25",
    }
    return dict.fromkeys(COLUMNS, "") | given | changes


def write(file: Path, lines: list[dict[str, str]]) -> Path:
    with open(file, "w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(lines)
    return file


def drawn(file: Path) -> tuple[str, list[dict[str, str]]]:
    out = file.parent / "figures" / "rollout.svg"
    draw_rollout(RolloutStage(title="Speed", file=str(file)), out)
    assert out.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"
    with open(out.with_suffix(".csv"), newline="") as stream:
        return out.read_text(), [*csv.DictReader(stream)]


def test_the_columns_are_those_of_the_benchmark() -> None:
    assert list(Measurement.model_fields) == COLUMNS


def test_the_last_measurement_of_each_thing_is_drawn(tmp_path: Path) -> None:
    lines = [
        line("8B", "static, 1 a step", "900"),
        line("0.6B", "static, 1 a step", "1000.5"),
        line("0.6B", "autoregressive", "700", floor_tokens_per_second="", fraction_of_floor=""),
        line("0.6B", "static, 1 a step", "1200", fraction_of_floor="0.3"),
        line("0.6B", "static, 1 a step", ""),
        line("0.6B", "static, 1 a step", "5000", sequences="512", requests="512", fraction_of_floor="0.77"),
    ]
    drawing, records = drawn(write(tmp_path / "rollout.csv", lines))
    assert [record["tokens_per_second"] for record in records] == ["900", "1200", "700", "5000"]
    assert records[0] == {column: lines[0][column] for column in COLUMNS}
    for text in ("Speed", "128 sequences, 100 prompt + 64 new tokens", "512 sequences", "25%", "30%", "77%"):
        assert f"<!-- {text}" in drawing, text
    assert drawing.index("<!-- 0.6B") < drawing.index("<!-- 8B")


def test_more_panels_than_a_row_holds(tmp_path: Path) -> None:
    lines = [line("4B", "whole blocks", "10", new_tokens=str(tokens)) for tokens in (64, 256, 1024)]
    drawing, records = drawn(write(tmp_path / "rollout.csv", lines))
    assert len(records) == drawing.count("tokens/s -->") == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens_per_second": "fast"}, r"rollout\.csv, line 3, column tokens_per_second: .*number.* \(got 'fast'\)"),
        ({"gbps": "nan"}, r"rollout\.csv, line 3, column gbps: .*finite number \(got 'nan'\)"),
        ({"sequences": ""}, r"rollout\.csv, line 3, column sequences: .*integer.* \(got ''\)"),
        ({"new_tokens": "6.5"}, r"rollout\.csv, line 3, column new_tokens: .*integer.* \(got '6\.5'\)"),
    ],
)
def test_what_cannot_be_read_is_named_with_line_and_column(
    tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    file = write(tmp_path / "rollout.csv", [line("4B", "static", "1"), line("4B", "static", "1") | changes])
    with pytest.raises(DataError, match=message):
        drawn(file)
    assert not (tmp_path / "figures").exists()


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "rollout.csv", [line("4B", "static", "1")])
    file.write_text(file.read_text().replace("fraction_of_floor", "fraction"))
    with pytest.raises(DataError, match=r"rollout\.csv, line 1: no column fraction_of_floor; .*rollout\.py writes"):
        read_measurements(file)


def test_lines_that_are_cut_or_too_long_are_named(tmp_path: Path) -> None:
    file = write(tmp_path / "rollout.csv", [line("4B", "static", "1")])
    whole = file.read_text().rstrip()
    file.write_text(whole[:-2])
    with pytest.raises(DataError, match=r"rollout\.csv, line 2, column reference_tokens_per_second: .*required"):
        read_measurements(file)
    file.write_text(whole + ",1")
    with pytest.raises(DataError, match=r"rollout\.csv, line 2: more values than columns"):
        read_measurements(file)


def test_a_file_without_speeds_or_none_at_all_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rollout\.csv has no speeds"):
        drawn(write(tmp_path / "rollout.csv", [line("4B", "static", "")]))
    with pytest.raises(DataError, match=r"rollout\.csv has no speeds"):
        drawn(write(tmp_path / "rollout.csv", []))
    with pytest.raises(DataError, match=r"gone\.csv does not exist"):
        read_measurements(tmp_path / "gone.csv")
    (tmp_path / "rollout.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"rollout\.csv is not a CSV file"):
        read_measurements(tmp_path / "rollout.csv")

"""A wrong configuration gives one message that names the key."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from opdlm.config.models import ConvertSettings
from opdlm.config.plan import Plan
from opdlm.config.settings import init_name, init_parts, load
from opdlm.errors import DataError, SettingsError
from opdlm.reporting.paper import PaperValues

ROOT = Path(__file__).parents[1]
TINY = yaml.safe_load((ROOT / "config/config.yaml").read_text())


def changed(path: str, value: Any) -> dict[str, Any]:
    """The tiny configuration with one key set; numbers in the path count list entries."""
    raw = copy.deepcopy(TINY)
    *parents, last = path.split(".")
    place: Any = raw
    for part in parents:
        place = place[int(part) if isinstance(place, list) else part]
    place[int(last) if isinstance(place, list) else last] = value
    return raw


def test_the_shipped_configurations_are_valid() -> None:
    assert load(TINY).results == "results"
    real = ROOT / "config/real.yaml"
    raw = yaml.safe_load(real.read_text())
    if not (ROOT / raw["data_root"]).is_dir():
        pytest.skip("the benchmark files that config/real.yaml points to are not on this machine")
    raw["data_root"] = str(ROOT / raw["data_root"])
    settings = load(raw)
    PaperValues(ROOT / "config/paper_values.csv").check(settings)


BAD = [
    ("benchmark", {}, "benchmark: unknown key; did you mean 'benchmarks'?"),
    ("runs.opdlm.train.optimiser", {"lrr": 1.0}, "runs.opdlm.train.optimiser.lrr: unknown key; did you mean 'lr'?"),
    ("runs.opdlm.train.rollouts", "many", "runs.opdlm.train.rollouts: "),
    ("runs.opdlm.train.rollouts", 0, "runs.opdlm.train.rollouts: "),
    ("runs.opdlm.teacher", "tony", "runs.opdlm.teacher: 'tony' is not defined (known: tiny); did you mean 'tiny'?"),
    ("decodings.static.strategy", "statik", "decodings.static.strategy: "),
    ("benchmarks.TinyMath.rows", "200", "benchmarks.TinyMath.rows: "),
    ("benchmarks.TinyMath.rows", None, "benchmarks.TinyMath.rows: layout 'tiny'"),
    ("benchmarks.TinyMath.shards", 500, "benchmarks.TinyMath.shards: 500 shards"),
    ("benchmarks.TinyMath.source", {"layout": "gsm8k", "file": "x"}, "benchmarks.TinyMath.source.file: set data_root"),
    ("benchmarks.a/b", {**TINY["benchmarks"]["TinyMath"]}, "benchmarks.a/b: names are parts of paths"),
    ("tables.table1.benchmarks", ["TinyMaths"], "tables.table1.benchmarks.0: 'TinyMaths' is not defined"),
    ("tables.table1.rows.1.model", "init/tiny", "tables.table1.rows.1.model: 'init/tiny' should read"),
    ("tables.table1.rows.1.model", "run/opdml", "tables.table1.rows.1.model: 'opdml' is not defined"),
    ("tables.table1.rows.1.decoding", "fast", "tables.table1.rows.1.decoding: 'fast' is not defined"),
    ("figures.sweep.decodings", ["fast"], "figures.sweep.decodings.0: 'fast' is not defined"),
    ("teachers.tiny", {}, "teachers.tiny: give exactly one of"),
    ("all", ["table9"], "all.0: 'table9' is not defined"),
]


@pytest.mark.parametrize(("path", "value", "message"), BAD)
def test_a_wrong_key_is_named(path: str, value: Any, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(changed(path, value))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named() -> None:
    raw = copy.deepcopy(TINY)
    del raw["benchmarks"]["TinyMath"]["scorer"]
    with pytest.raises(SettingsError, match=r"^benchmarks\.TinyMath\.scorer: this key is missing$"):
        load(raw)


def test_a_misspelt_required_key_is_named_as_it_stands() -> None:
    raw = copy.deepcopy(TINY)
    raw["benchmarks"]["TinyMath"]["scorerr"] = raw["benchmarks"]["TinyMath"].pop("scorer")
    with pytest.raises(SettingsError, match=r"^benchmarks\.TinyMath\.scorerr: unknown key; did you mean 'scorer'\?$"):
        load(raw)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    raw = changed("benchmarks.TinyMath.source", {"layout": "gsm8k", "file": "gone.jsonl"})
    raw["data_root"] = str(tmp_path)
    with pytest.raises(SettingsError, match=rf"^benchmarks\.TinyMath\.source\.file: {tmp_path}/gone\.jsonl does not"):
        load(raw)


def test_names_of_the_paper_are_checked() -> None:
    paper = PaperValues(ROOT / "config/paper_values.csv")
    with pytest.raises(SettingsError, match=r"^tables\.table1\.paper_table: 'table99' is not in the paper"):
        paper.check(load(changed("tables.table1.paper_table", "table99")))
    raw = changed("tables.table1.paper_table", "table1")
    raw["tables"]["table1"]["rows"][2]["paper_row"] = "OPDLM-5B"
    with pytest.raises(SettingsError, match=r"^tables\.table1\.rows\.2\.paper_row: 'OPDLM-5B' is not in the paper"):
        paper.check(load(raw))


def test_paper_values_must_be_numbers(tmp_path: Path) -> None:
    file = tmp_path / "paper.csv"
    file.write_text("table,row,benchmark,value,std\ntable1,OPDLM,MMLU,high,\n")
    with pytest.raises(DataError, match="line 2"):
        PaperValues(file)


@pytest.mark.parametrize("mask_init", ["keep", "mean"])
def test_name_of_a_conversion_holds_its_settings(mask_init: Any) -> None:
    convert = ConvertSettings(block_size=16, mask_init=mask_init)
    assert init_parts(init_name("my-b4-teacher", convert)) == ("my-b4-teacher", convert)


def test_checkpoints_are_kept_apart_by_all_that_weights_depend_on() -> None:
    def state(raw: dict[str, Any]) -> str:
        return Plan(load(raw), ROOT / "workflow_scripts").run_state("opdlm")

    assert state(changed("benchmarks.TinyMath.rows", 100)) == state(TINY)
    for path, value in [
        ("runs.opdlm.train.optimiser", {"lr": 1e-3}),
        ("runs.opdlm.convert", {"block_size": 8}),
        ("prompts.tiny.seed", 3),
        ("teachers.tiny.pretrain.steps", 3),
    ]:
        assert state(changed(path, value)) != state(TINY), path

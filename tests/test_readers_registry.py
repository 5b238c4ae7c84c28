"""config/benchmarks.yaml: every benchmark of the paper is there, and each entry's file becomes prompts."""

import os
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from opdlm.config.data import FileLayout
from opdlm.config.evaluation import BenchmarkSettings
from opdlm.config.prompts import WORDINGS
from opdlm.config.settings import Settings, load
from opdlm.data.prompts import messages
from opdlm.data.sources import LAYOUTS, read_file
from opdlm.errors import DataError
from opdlm.reporting.paper import PaperValues
from tests.hub import serve
from tests.readers import written
from tests.test_readers_code import PROBLEM
from tests.test_readers_evalplus import HUB_MBPP, HUMANEVAL
from tests.test_readers_instructions import GRID, IFEVAL
from tests.tree import Tree

ROOT = Path(__file__).parents[1]


def registry() -> Settings:
    """config/paper.yaml with config/benchmarks.yaml laid over it, as Snakemake merges them."""
    raw: dict[str, Any] = yaml.safe_load((ROOT / "config/paper.yaml").read_text())
    return load({**raw, **yaml.safe_load((ROOT / "config/benchmarks.yaml").read_text())})


BENCHMARKS: dict[str, BenchmarkSettings] = registry().benchmarks
TABLES: dict[str, dict[str, Any]] = {
    "humaneval": {name: HUMANEVAL[name] for name in ("task_id", "prompt", "entry_point", "test")},
    "humaneval_plus": {name: HUMANEVAL[name] for name in ("task_id", "prompt", "entry_point", "test")},
    "mbpp": HUB_MBPP,
    "mbpp_plus": HUB_MBPP,
    "codeforces": PROBLEM,
}
LISTS: dict[str, dict[str, Any]] = {
    "zebra": {"question": "Who?", "ground_truth_answer": GRID},
    "choice": {"question": "Which?\n(A) x\n(B) y", "ground_truth_answer": "B", "subdivision": "de"},
    "ifeval": {**{name: IFEVAL[name] for name in ("key", "instruction_id_list", "kwargs")}, "question": "Write."},
    "livebench": {
        "question": "Which class?",
        "ground_truth_answer": "id",
        "livebench_category": "data_analysis",
        "livebench_task": "cta",
        "livebench_release_date": "2024-06-24",
    },
    "math": {"question": "1 + 1?", "ground_truth_answer": "2"},
    "code": {"question": "q", "input_output": '{"inputs": ["1"], "outputs": ["1"], "fn_name": null}'},
}


def example(folder: Path, benchmark: BenchmarkSettings) -> Path:
    """A file of one row, as the benchmark's own is made."""
    if benchmark.source.layout in TABLES:
        return written(folder / "a.parquet", TABLES[benchmark.source.layout])
    return written(folder / "a.json", [LISTS[benchmark.scorer]])


def test_all_columns_of_the_papers_tables_are_there() -> None:
    values = PaperValues(ROOT / "config/paper_values.csv")
    columns = {benchmark for _, _, benchmark in values._values}
    assert len(columns) == 20
    assert columns == set(BENCHMARKS) - {
        name for name in BENCHMARKS if name.endswith(("-plus", "-thinking", "-greedy", "-8k"))
    }
    assert {entry.paper_column for entry in BENCHMARKS.values() if entry.paper_column} <= columns


def test_means_over_seeds_are_aimes_and_gpqas() -> None:
    several = {name: entry.seeds for name, entry in BENCHMARKS.items() if entry.seeds > 1 and not entry.thinking}
    assert several == {"GPQA-Diamond": 8, "GPQA-Diamond-8k": 8, "AIME-24": 32, "AIME-25": 32}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_entry_words_a_prompt(tmp_path: Path, name: str) -> None:
    entry = BENCHMARKS[name]
    source = entry.source.model_copy(update={"expected_rows": None})
    row = read_file(source, example(tmp_path, entry), None)[0]
    said = messages(row, WORDINGS[entry.prompt])
    assert row.question.strip() in said[-2 if entry.prompt == "humaneval" else -1]["content"]
    assert row.ground_truth_answer or row.test_list or row.test_input or row.instruction_id_list


def test_every_layout_has_a_reader() -> None:
    assert set(LAYOUTS) == set(get_args(FileLayout))


def test_another_number_of_rows_is_an_error_that_names_both(tmp_path: Path) -> None:
    entry = BENCHMARKS["GSM8K"]
    file = written(tmp_path / "GSM8K.json", [LISTS["math"]] * 3)
    with pytest.raises(DataError, match=r"GSM8K.json gives 3 rows, and 1319 are expected"):
        read_file(entry.source, file, None)
    assert len(read_file(entry.source, file, 2)) == 2


def test_a_benchmark_of_a_run_of_the_paper_comes_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = tmp_path / "published"
    published.mkdir()
    written(published / "AIME2024.json", [LISTS["math"]] * 30)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    # `hf` lies beside the interpreter, which need not be on the path.
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    tree = Tree(tmp_path)
    both = ("--configfile", "config/paper.yaml", "config/benchmarks.yaml", "--")
    planned = tree.stale(*both, "results/merged/run/opdlm-4B/static/AIME-24.json")
    assert "samples/run/opdlm-4B/static/AIME-24/31/0-of-1.jsonl" in planned
    assert "data/hub/divelab/opdlm_eval_data/main/AIME2024.json" in planned
    (tree.programs / "python").unlink()  # the rows are to be made, not stood in for
    with serve("datasets/divelab/opdlm_eval_data", published) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        done = tree.snakemake(*both, "results/data/benchmarks/AIME-24.jsonl")
    assert done.returncode == 0, done.stderr
    assert len((tree.folder / "results/data/benchmarks/AIME-24.jsonl").read_text().splitlines()) == 30

"""Prompts and benchmark rows, from a generator or a file, written in the one schema."""

from pathlib import Path

from opdlm.config.data import PromptSettings, RowsStage, Source
from opdlm.data import sources, tiny
from opdlm.data.rows import Row
from opdlm.errors import DataError
from opdlm.files import write_jsonl

BENCHMARK_SEED = 0
"""Generated benchmarks are the same for everybody."""


def prepare_prompts(settings: PromptSettings, file: Path | None, out: Path) -> None:
    """Write training prompts to `out`; `file` is what `settings.source` points to, none if rows are generated.

    Raises:
        DataError: there are no rows, or the file is missing or malformed.
    """
    _write(_rows(settings.source, "train", file, settings.rows, settings.seed), out)


def prepare_benchmark(stage: RowsStage, file: Path | None, out: Path) -> None:
    """Write the rows of a benchmark to `out`; `file` as for prompts.

    Raises:
        DataError: there are no rows, or the file is missing or malformed.
    """
    _write(_rows(stage.source, "test", file, stage.rows, BENCHMARK_SEED), out)


def _rows(source: Source, split: tiny.Split, file: Path | None, count: int | None, seed: int) -> list[Row]:
    if source.layout == "tiny":
        if count is None:
            raise DataError("layout 'tiny' generates rows and needs to know how many: set 'rows'")
        return tiny.rows(source.task, split, count, seed)
    if file is None:
        raise DataError(f"layout '{source.layout}' reads a file and got none")
    return sources.read_file(source, file, count)


def _write(rows: list[Row], out: Path) -> None:
    if not rows:
        raise DataError(f"no rows for {out}")
    write_jsonl(out, rows)

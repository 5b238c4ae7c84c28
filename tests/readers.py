"""What the tests of the readers share: files to write, and the real ones."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from opdlm.config.data import Source
from opdlm.data.rows import Row
from opdlm.data.sources import read_file
from opdlm.errors import DataError

BENCHMARKS = Path(__file__).parents[2] / "shared" / "bench_data"
needs_benchmarks = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the benchmark files are not here")


def read(layout: str, file: Path, rows: int | None = None) -> list[Row]:
    return read_file(Source(layout=layout, file=str(file)), file, rows)


def written(path: Path, *values: Any) -> Path:
    """JSON lines, gzipped or not; a table if the name says so; one JSON list if one list is given."""
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(values)), path)
        return path
    text = "".join(json.dumps(value) + "\n" for value in values)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def refusal(layout: str, file: Path) -> str:
    """What is said about a file that cannot be read; it starts with the file."""
    with pytest.raises(DataError) as caught:
        read(layout, file)
    assert str(caught.value).startswith(str(file))
    return str(caught.value).removeprefix(f"{file}, ")

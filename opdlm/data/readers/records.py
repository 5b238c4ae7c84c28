"""Records of files of every kind, with the place that an error names."""

import csv
import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]

from opdlm.errors import DataError
from opdlm.files import iterate_jsonl

RowFields = dict[str, Any]
"""Fields of `opdlm.data.rows.Row`, not yet validated."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a file.

    Attributes:
        place: where it stands, in words.
        listed: whether the file is one JSON list, as the published evaluation data are.
    """

    file: Path
    place: str
    fields: dict[str, Any]
    listed: bool = False

    def text(self, *names: str) -> str:
        """The first of these fields that is there.

        Raises:
            DataError: none is there, or it is not text.
        """
        value = next((self.fields[name] for name in names if self.fields.get(name) is not None), None)
        if not isinstance(value, str):
            raise self.error(" or ".join(names), "missing, or not text")
        return value

    def error(self, field: str, message: str) -> DataError:
        """An error that names file, place and field."""
        return DataError(f"{self.file}, {self.place}: {field}: {message}")


def objects(file: Path) -> Iterator[Record]:
    """The objects of a JSON list, of JSON lines (both may be gzipped), or of a Parquet table.

    Raises:
        DataError: the file is missing, truncated or corrupt, or holds something else than objects.
    """
    if file.suffix == ".parquet":
        return _objects(file, "row", _table(file))
    if _first_character(file) == "[":
        return _objects(file, "row", _list(file), listed=True)
    return _objects(file, "line", iterate_jsonl(file))


def _objects(file: Path, kind: str, values: Iterator[tuple[int, Any]], listed: bool = False) -> Iterator[Record]:
    for number, value in values:
        if not isinstance(value, dict):
            raise DataError(f"{file}, {kind} {number}: not an object")
        yield Record(file, f"{kind} {number}", value, listed)


def _text(file: Path) -> str:
    try:
        content = file.read_bytes()
        return (gzip.decompress(content) if file.suffix == ".gz" else content).decode("utf-8")
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{file} is truncated or corrupt: {error}") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error


def _first_character(file: Path) -> str:
    try:
        with (gzip.open if file.suffix == ".gz" else open)(file, "rb") as stream:
            return stream.read(64).lstrip()[:1].decode("ascii", "replace")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{file} is truncated or corrupt: {error}") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error


def _list(file: Path) -> Iterator[tuple[int, Any]]:
    try:
        values = json.loads(_text(file))
    except json.JSONDecodeError as error:
        raise DataError(f"{file} is not valid JSON: {error}; the file may be truncated") from error
    yield from enumerate(values, start=1)


def _table(file: Path) -> Iterator[tuple[int, Any]]:
    try:
        with pyarrow.parquet.ParquetFile(file) as table:
            number = 0
            for batch in table.iter_batches(batch_size=64):
                for value in batch.to_pylist():
                    number += 1
                    yield number, value
    except FileNotFoundError:
        raise DataError(f"{file} does not exist") from None
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{file} is truncated or corrupt: {error}") from error


def csv_rows(file: Path) -> Iterator[Record]:
    """The rows of a table with a header.

    Raises:
        DataError: the file is missing or is not such a table.
    """
    yield from _csv(_text(file), file, "")


def csv_members(file: Path, ending: str, columns: list[str] | None = None) -> Iterator[Record]:
    """The rows of all tables of an archive whose names end in `ending`, in the order of their names.

    Each row also has the field `subject`, the table's name. `columns` names the columns where the tables do not.

    Raises:
        DataError: the file is missing or is not such an archive.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            for name in sorted(name for name in archive.namelist() if name.endswith(ending)):
                subject = name.rpartition("/")[2].removesuffix(ending)
                for record in _csv(archive.read(name).decode("utf-8-sig"), file, f"{name} ", columns):
                    record.fields["subject"] = subject
                    yield record
    except FileNotFoundError:
        raise DataError(f"{file} does not exist") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{file} is truncated or corrupt: {error}") from error


def _csv(text: str, file: Path, prefix: str, columns: list[str] | None = None) -> Iterator[Record]:
    try:
        for number, fields in enumerate(csv.DictReader(io.StringIO(text), columns), start=1):
            yield Record(file, f"{prefix}row {number}", dict(fields))
    except csv.Error as error:
        raise DataError(f"{file} {prefix}is not a table: {error}") from error

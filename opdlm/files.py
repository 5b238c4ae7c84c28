"""Durable files: written to a temporary name, flushed to the disk, then renamed; a reader sees all or nothing."""

import fcntl
import gzip
import hashlib
import json
import os
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

from pydantic import BaseModel, ValidationError

from opdlm.errors import DataError

Model = TypeVar("Model", bound=BaseModel)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically.

    Raises:
        DataError: the disk is full or the folder cannot be written; whatever stood at `path` is untouched.
    """
    path = Path(path)
    data = text.encode()  # a text that is not Unicode fails here, before any file is made
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn the system's errors while writing `path` into one that says so."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"cannot write {path}: {reason}. What stood there before is unchanged.") from error


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[BaseModel | dict[str, Any]]) -> None:
    """Write one JSON object per line, atomically."""
    write_text(path, "".join(json_line(row) for row in rows))


def json_line(row: BaseModel | dict[str, Any]) -> str:
    """One row of a JSON-lines file, newline included."""
    value = row.model_dump(mode="json") if isinstance(row, BaseModel) else row
    return json.dumps(value, ensure_ascii=False) + "\n"


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not valid JSON: {error}") from error


def read_jsonl(path: Path, schema: type[Model]) -> list[Model]:
    """Read a JSON-lines file (optionally gzipped) and validate every row.

    Raises:
        DataError: the file is missing, empty, truncated, or a row does not fit `schema`; the message has the row.
    """
    rows = [_validated(schema, value, path, number) for number, value in iterate_jsonl(path)]
    if not rows:
        raise DataError(f"{path} has no rows")
    return rows


def read_journal(path: Path, schema: type[Model]) -> tuple[list[Model], int]:
    """The whole rows at the beginning of a JSON-lines file, which may be cut off or missing, and their bytes."""
    rows: list[Model] = []
    length = 0
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else []:
        try:
            row = schema.model_validate_json(line)
        except ValidationError:
            break
        if not line.endswith(b"\n"):
            break
        rows.append(row)
        length += len(line)
    return rows, length


def iterate_jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (line number from 1, value) of a JSON-lines file, blank lines skipped.

    Raises:
        DataError: the file is missing or a line is not JSON (a truncated file usually fails on its last line).
    """
    path, number = Path(path), 0
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield number, _parsed(line, path, number)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is truncated or corrupt after line {number}: {error}") from error


def _parsed(line: str, path: Path, number: int) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {number}: not valid JSON ({error.msg}); the file may be truncated") from error


def _validated(schema: type[Model], value: Any, path: Path, number: int) -> Model:
    try:
        return schema.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "row"
        raise DataError(f"{path}, line {number}: {field}: {first['msg']}") from error


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary sibling folder to fill; it takes the place of `path` only if the block ends well.

    Raises:
        DataError: the disk is full or the folder cannot be written; whatever stood at `path` is untouched.
    """
    path = Path(path)
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    sync_file(file)
            os.chmod(temporary, 0o755)
            _put_in_place(temporary, path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync_folder(path.parent)


def _put_in_place(temporary: Path, path: Path) -> None:
    """Rename a finished folder to `path`; what stood there is moved aside, and back if that fails."""
    if not path.exists():
        os.replace(temporary, path)
        return
    aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        os.replace(path, aside / path.name)
        try:
            os.replace(temporary, path)
        except OSError:
            os.replace(aside / path.name, path)
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def sync_file(path: Path) -> None:
    """Flush a finished file to the disk."""
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())


def sync_folder(path: Path) -> None:
    """Flush a folder's entries (a rename is durable only after this)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hold(stream: IO[Any], what: str) -> None:
    """Wait until no other process holds this open file, and hold it until it is closed.

    The kernel gives it up with the process, however that ends, so nothing stale is ever in the way.

    Args:
        what: is being held, for the message to a person who waits.
    """
    if not take(stream):
        print(f"waiting: another process is at work on {what}", file=sys.stderr, flush=True)
        fcntl.flock(stream, fcntl.LOCK_EX)


def take(stream: IO[Any]) -> bool:
    """Hold this open file as `hold` does, if no other process has it; whether that is so.

    Raises:
        DataError: the file system has no such locks.
    """
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise DataError(
            f"{stream.name} cannot be locked ({error.strerror}): without locks two jobs could write the same. "
            "Use a file system that has them (Lustre: mounted with -o flock)"
        ) from error
    return True


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Be the only process that makes `path` while the block runs; wait for another one that does.

    A workflow that is killed leaves jobs behind, and its next start would run beside them.
    """
    lock = path.with_name(f".{path.name}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with open(lock, "a") as stream:
            hold(stream, str(path))
            if _still_there(stream, lock):  # otherwise its holder has removed it meanwhile
                try:
                    yield
                finally:
                    lock.unlink(missing_ok=True)
                return


def _still_there(stream: IO[Any], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False

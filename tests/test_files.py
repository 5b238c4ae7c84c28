"""A reader of our files sees all or nothing, and a damaged file is named together with the line."""

import errno
import fcntl
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from opdlm import files
from opdlm.errors import DataError
from opdlm.files import (
    alone,
    iterate_jsonl,
    json_line,
    new_folder,
    read_json,
    read_jsonl,
    write_json,
    write_jsonl,
    write_text,
)


class Item(BaseModel):
    number: int
    text: str = ""


LINES = "".join(json_line(Item(number=number, text=f"{number * 7919:x}" * 20)) for number in range(400))


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.text(), json_values, max_size=3), min_size=1, max_size=4))
def test_rows_round_trip(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]) -> None:
    path = tmp_path_factory.getbasetemp() / "rows.jsonl"
    write_jsonl(path, rows)
    assert [value for _, value in iterate_jsonl(path)] == rows
    assert [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] == rows


def test_writing_makes_parents_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "x.json"
    write_json(path, {"é": 1})
    write_json(path, {"é": 2})
    assert read_json(path) == {"é": 2}
    assert entries(path.parent) == ["x.json"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    write_text(tmp_path / "x", "old")

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(DataError, match=r"cannot write .*x: No space left on device.*unchanged"):
        write_text(tmp_path / "x", "new")
    assert (tmp_path / "x").read_text() == "old"
    assert entries(tmp_path) == ["x"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interruption_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    write_text(tmp_path / "x", "old")

    def interrupted(descriptor: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(error):
        write_text(tmp_path / "x", "new")
    assert (tmp_path / "x").read_text() == "old"
    assert entries(tmp_path) == ["x"]


def test_text_that_is_not_unicode_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "x", "\ud800")
    assert entries(tmp_path) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "")
    with pytest.raises(DataError, match=r"cannot write .*file/x"):
        write_text(tmp_path / "file" / "x", "")
    with pytest.raises(DataError, match=r"cannot write .*file/x"), new_folder(tmp_path / "file" / "x"):
        pass


def test_a_new_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with new_folder(tmp_path / "folder") as folder:
            (folder / "sub").mkdir()
            (folder / "sub" / text).write_text(text)
    assert entries(tmp_path) == ["folder"]
    assert entries(tmp_path / "folder" / "sub") == ["new"]
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_an_unfinished_folder_leaves_the_old_one_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    def fill(text: str, error: BaseException | None = None) -> None:
        with new_folder(tmp_path / "folder") as folder:
            (folder / "x").write_text(text)
            if error:
                raise error

    fill("old")
    with pytest.raises(DataError if isinstance(error, OSError) else type(error)):
        fill("new", error)
    assert entries(tmp_path) == ["folder"]
    assert (tmp_path / "folder" / "x").read_text() == "old"


@pytest.mark.parametrize("failing", [1, 2])
def test_a_folder_that_cannot_be_renamed_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """The old folder is moved aside first; it comes back if the new one cannot take its place."""
    with new_folder(tmp_path / "folder") as folder:
        (folder / "x").write_text("old")
    calls, replace = 0, os.replace

    def sometimes(source: Path, target: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(errno.EIO, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", sometimes)
    with pytest.raises(DataError, match=r"folder: Input/output error"), new_folder(tmp_path / "folder") as folder:
        (folder / "x").write_text("new")
    assert entries(tmp_path) == ["folder"]
    assert (tmp_path / "folder" / "x").read_text() == "old"


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_rows_are_numbered_by_line_and_blank_lines_are_skipped(tmp_path: Path, suffix: str) -> None:
    data = b'{"number": 1}\n\n  \n{"number": 2}'
    path = written(tmp_path / f"x.{suffix}", gzip.compress(data) if suffix.endswith("gz") else data)
    assert list(iterate_jsonl(path)) == [(1, {"number": 1}), (4, {"number": 2})]
    assert read_jsonl(path, Item) == [Item(number=1), Item(number=2)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"number": 1}\n{"number": ', "x.jsonl, line 2: not valid JSON .*truncated"),
        (b'{"number": 1}\n{"number": "one"}\n', "x.jsonl, line 2: number: .*integer"),
        (b'{"number": 1}\n\n{"text": "a"}\n', "x.jsonl, line 3: number: Field required"),
        (b"[1]\n", "x.jsonl, line 1: row: "),
        (b'{"number": 1}\n\xff\n', "x.jsonl is truncated or corrupt"),
        (b"", "x.jsonl has no rows"),
        (b"\n \n", "x.jsonl has no rows"),
        (b"\x00\x00\x00", "x.jsonl, line 1: not valid JSON"),
    ],
)
def test_damaged_rows_are_named(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_jsonl(written(tmp_path / "x.jsonl", data), Item)


@pytest.mark.parametrize("place", ["header", "early", "middle", "late", "checksum", "cut", "cut early", "not gzip"])
def test_a_damaged_gzip_file_is_named_wherever_the_damage_is(tmp_path: Path, place: str) -> None:
    good = gzip.compress(LINES.encode(), mtime=0)
    starts = {"header": 2, "early": 14, "middle": len(good) // 2, "late": len(good) - 200, "checksum": len(good) - 6}
    cuts = {"cut": len(good) - 100, "cut early": 5}
    data = bytearray(good)
    if place in starts:
        for offset in range(starts[place], starts[place] + 4):
            data[offset] ^= 0xFF
    elif place in cuts:
        data = data[: cuts[place]]
    else:
        data = bytearray(LINES.encode())
    path = written(tmp_path / "x.jsonl.gz", bytes(data))
    with pytest.raises(DataError, match=str(path)):
        read_jsonl(path, Item)


def test_missing_files_are_named(tmp_path: Path) -> None:
    for read in (read_json, lambda path: read_jsonl(path, Item)):
        with pytest.raises(DataError, match=r"nowhere.jsonl does not exist"):
            read(tmp_path / "nowhere.jsonl")


@pytest.mark.parametrize("data", [b'{"a": 1', b"", b"\xff\xfe"])
def test_a_damaged_json_file_is_named(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DataError, match=r"x.json is not valid JSON"):
        read_json(written(tmp_path / "x.json", data))


def test_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    assert files.sha256(written(tmp_path / "x", b"abc")).startswith("ba7816bf8f01cfea414140de5dae2223b00361a3")


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(stream: IO[str], how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(DataError, match=r"out\.lock cannot be locked .*-o flock"), alone(tmp_path / "out"):
        pass


def test_one_process_at_a_time_makes_a_file(tmp_path: Path) -> None:
    out, seen = tmp_path / "out", tmp_path / "seen"
    work = (
        "import sys, time; from pathlib import Path; from opdlm.files import alone\n"
        "with alone(Path(sys.argv[1])):\n"
        "    with open(sys.argv[2], 'a') as log: print('begin', file=log)\n"
        "    time.sleep(0.2)\n"
        "    with open(sys.argv[2], 'a') as log: print('end', file=log)\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", work, str(out), str(seen)]) for _ in range(4)]
    assert [process.wait() for process in running] == [0] * 4
    assert seen.read_text().split() == ["begin", "end"] * 4
    assert not list(tmp_path.glob(".out*"))

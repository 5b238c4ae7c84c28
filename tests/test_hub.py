"""Models come from the hub by huggingface_hub's own client; what breaks off goes on, what fails says so in one line."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from opdlm.errors import CheckpointError
from opdlm.model.checkpoint import DOWNLOADED, Hub, fetch, load_model, local_folder
from tests.folders import contents, write_teacher
from tests.hub import COMMIT, FakeHub, serve

NAME = "someone/tiny"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_teacher(tmp_path_factory.mktemp("hub") / "model", shard_size="40KB")
    (folder / "pytorch_model.bin").write_bytes(b"the same weights in another format")
    return folder


@pytest.fixture
def server(model: Path) -> Iterator[FakeHub]:
    with serve(NAME, model) as hub:
        yield hub


@pytest.fixture
def hub(server: FakeHub, tmp_path: Path) -> Hub:
    return Hub(server.endpoint, tmp_path / "cache")


def wanted(model: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(model).items() if any(Path(name).match(p) for p in DOWNLOADED)}


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_a_model_is_fetched_with_what_we_use_of_it(model: Path, hub: Hub, tmp_path: Path, revision: str | None) -> None:
    fetch(NAME, revision, tmp_path / "out", hub)
    assert contents(tmp_path / "out") == wanted(model)
    assert "pytorch_model.bin" not in contents(tmp_path / "out")
    assert not any(path.is_symlink() for path in (tmp_path / "out").iterdir())


def test_what_is_in_the_cache_is_not_transferred_again(server: FakeHub, hub: Hub) -> None:
    first = local_folder(NAME, hub=hub)
    transferred = len(server.transfers)
    assert local_folder(NAME, hub=hub) == first
    assert len(server.transfers) == transferred


def test_a_transfer_that_breaks_off_goes_on(model: Path, server: FakeHub, hub: Hub, tmp_path: Path) -> None:
    shard = sorted(model.glob("*.safetensors"))[0].name
    server.broken[shard] = 1
    fetch(NAME, None, tmp_path / "out", hub)
    assert contents(tmp_path / "out") == wanted(model)
    assert len([name for name, _ in server.transfers if name == shard]) == 2


def test_a_download_that_failed_goes_on_with_the_files_that_are_left(
    model: Path, server: FakeHub, hub: Hub, tmp_path: Path
) -> None:
    server.down = True
    with pytest.raises(CheckpointError, match=f"{NAME} is not a folder, and it cannot be downloaded") as caught:
        fetch(NAME, None, tmp_path / "out", hub)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    server.down = False
    fetch(NAME, None, tmp_path / "out", hub)
    assert contents(tmp_path / "out") == wanted(model)


@pytest.mark.parametrize(
    ("source", "revision"),
    [("someone/else", None), (NAME, "no-such-branch"), ("./no/such/folder", None), ("/no/such/folder", None)],
)
def test_what_does_not_exist_is_named_in_one_line(hub: Hub, tmp_path: Path, source: str, revision: str | None) -> None:
    with pytest.raises(CheckpointError, match=f"{source} is not a folder, and it cannot be downloaded") as caught:
        fetch(source, revision, tmp_path / "out", hub)
    assert "\n" not in str(caught.value)
    assert (revision or "main") in str(caught.value)


def test_no_server_is_one_line(tmp_path: Path, model: Path) -> None:
    with serve(NAME, model) as gone:
        pass
    with pytest.raises(CheckpointError, match="cannot be downloaded") as caught:
        fetch(NAME, None, tmp_path / "out", Hub(gone.endpoint, tmp_path / "cache"))
    assert "\n" not in str(caught.value)


def test_a_folder_is_used_as_it_is(model: Path) -> None:
    assert local_folder(str(model)) == model
    load_model(local_folder(str(model)))

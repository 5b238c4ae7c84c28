"""Damaged model folders give one error that names the file; a write that fails leaves what was there."""

import errno
import json
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from opdlm.config.models import ConvertSettings
from opdlm.errors import CheckpointError, DataError
from opdlm.files import new_folder
from opdlm.model import checkpoint
from opdlm.model.checkpoint import fetch, load_config, load_model, load_tokenizer, save_model
from opdlm.model.convert import convert
from tests.folders import contents, edit_config, write_teacher


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_teacher(tmp_path / "model")


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return write_teacher(tmp_path / "model", shard_size="40KB")


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_round_trip_keeps_every_bit(tmp_path: Path, tied: bool, dtype: torch.dtype) -> None:
    source = write_teacher(tmp_path / "model", tied=tied, dtype=dtype)
    model = load_model(source)
    with new_folder(tmp_path / "copy") as copy:
        save_model(copy, model, load_config(source))
    again = load_model(tmp_path / "copy")
    assert again.shape == model.shape
    assert not again.training
    assert (again.lm_head.weight is again.model.embed_tokens.weight) == tied
    for (name, before), after in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        assert after.dtype == dtype, name
        assert torch.equal(before, after), name
    assert ("lm_head.weight" in load_file(tmp_path / "copy" / "model.safetensors")) == (not tied)


def test_a_missing_shard_is_named(shards: Path) -> None:
    lost = sorted(shards.glob("*.safetensors"))[1]
    lost.unlink()
    with pytest.raises(CheckpointError, match=f"missing weights: {lost.name}") as caught:
        load_model(shards)
    assert str(shards) in str(caught.value)


def test_an_index_without_its_map_is_named(shards: Path) -> None:
    index = shards / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}}))
    with pytest.raises(CheckpointError, match=str(index)):
        load_model(shards)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_weights_are_named(folder: Path, kept: int) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=f"{file} is truncated or corrupt"):
        load_model(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        load_model(folder)


def test_a_truncated_configuration_is_named(folder: Path) -> None:
    file = folder / "config.json"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DataError, match=f"{file} is not valid JSON"):
        load_model(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "llama"}, "model_type is 'llama'"),
        ({"model_type": ...}, "model_type is None"),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0}}, "rope scaling .*yarn"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "rope scaling .*linear"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6}}, "rope scaling .*yarn"),
        ({"hidden_size": ...}, "hidden_size: Field required"),
        ({"head_dim": "wide"}, "head_dim: .*integer"),
    ],
)
def test_a_configuration_that_is_not_supported_is_named(folder: Path, changes: dict[str, object], message: str) -> None:
    edit_config(folder, **changes)
    with pytest.raises(CheckpointError, match=f"{folder / 'config.json'}: {message}"):
        load_model(folder)


@pytest.mark.parametrize("shard_size", ["5GB", "40KB"])
def test_a_tensor_that_disagrees_is_named_with_both_shapes_and_its_file(tmp_path: Path, shard_size: str) -> None:
    folder = write_teacher(tmp_path / "model", shard_size=shard_size)
    weights = {
        name: (file, tensor) for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()
    }
    for field, value, name, found, wanted in [
        ("intermediate_size", 50, "model.layers.0.mlp.gate_proj.weight", [48, 32], [50, 32]),
        ("vocab_size", 600, "model.embed_tokens.weight", [512, 32], [600, 32]),
        ("num_key_value_heads", 1, "model.layers.0.self_attn.k_proj.weight", [16, 32], [8, 32]),
    ]:
        file, tensor = weights[name]
        assert list(tensor.shape) == found
        before = (folder / "config.json").read_text()
        edit_config(folder, **{field: value})
        with pytest.raises(CheckpointError) as caught:
            load_model(folder)
        (folder / "config.json").write_text(before)
        assert str(caught.value) == (
            f"{file}: {name} has shape {found}, but {folder / 'config.json'} asks for {wanted}; "
            "they are not of the same model: fetch or convert it again"
        )


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda weights: weights.pop("model.norm.weight"), "1 tensors are missing, the first is model.norm.weight"),
        (lambda weights: weights.pop("model.embed_tokens.weight"), "missing, the first is model.embed_tokens.weight"),
        (lambda weights: weights.update(extra=torch.ones(1)), "1 tensors are not Qwen3's, the first is extra"),
    ],
)
def test_missing_and_unknown_tensors_are_named(folder: Path, edit: Callable[..., object], message: str) -> None:
    weights = load_file(folder / "model.safetensors")
    edit(weights)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=message):
        load_model(folder)


def test_a_tokenizer_that_cannot_be_loaded_is_one_line(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match=f"{folder}: the tokenizer cannot be loaded") as caught:
        load_tokenizer(folder)
    assert "\n" not in str(caught.value)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The system refuses to write files beyond `size` bytes, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("stood_there", [True, False])
def test_a_disk_that_fills_up_in_the_weights_leaves_the_old_folder(folder: Path, stood_there: bool) -> None:
    out = folder.with_name("student")
    if stood_there:
        convert(folder, out, ConvertSettings())
    before = contents(folder.parent)
    limit = (folder / "model.safetensors").stat().st_size // 2
    assert (folder / "tokenizer.json").stat().st_size < limit
    with largest_file(limit), pytest.raises(DataError, match="cannot write the weights"):
        convert(folder, out, ConvertSettings(block_size=8))
    assert contents(folder.parent) == before
    assert sorted(path.name for path in folder.parent.iterdir()) == ["model", "student"][: 1 + stood_there]


def test_a_disk_that_fills_up_after_the_weights_leaves_the_old_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = folder.with_name("student")
    convert(folder, out, ConvertSettings())
    before = contents(folder.parent)

    def full(path: Path, value: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(checkpoint, "write_json", full)
    with pytest.raises(DataError, match=f"cannot write {out}: No space left on device"):
        convert(folder, out, ConvertSettings(block_size=8))
    assert contents(folder.parent) == before
    assert sorted(path.name for path in folder.parent.iterdir()) == ["model", "student"]


def test_fetching_from_a_folder_copies_it_and_refuses_an_incomplete_one(shards: Path) -> None:
    fetch(str(shards), None, shards.with_name("copy"))
    assert contents(shards.with_name("copy")) == contents(shards)
    next(shards.glob("*.safetensors")).unlink()
    with pytest.raises(CheckpointError, match="missing weights"):
        fetch(str(shards), None, shards.with_name("another"))
    assert not shards.with_name("another").exists()

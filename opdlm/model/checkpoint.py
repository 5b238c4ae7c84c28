"""Model folders in Hugging Face layout: `config.json`, safetensors (one file or shards with an index), tokenizer."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict, snapshot_download
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoTokenizer

from opdlm.chat import Tokenizer
from opdlm.errors import CheckpointError, DataError
from opdlm.files import new_folder, read_json, write_json
from opdlm.model.qwen3 import Qwen3
from opdlm.model.shape import QWEN3_MASK_ID, QWEN3_VOCABULARY, Shape, read_shape

SINGLE_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
DOWNLOADED = ["*.json", "*.safetensors", "*.txt", "*.jinja", "*.model", "LICENSE*", "README.md"]


def load_model(folder: Path, dtype: torch.dtype | None = None, device: str | torch.device = "cpu") -> Qwen3:
    """Load a model in evaluation mode.

    Args:
        folder: a model folder.
        dtype: of the weights; as stored if none.
        device: where they go.

    Raises:
        CheckpointError: a file or tensor is missing, corrupt, or disagrees with `config.json`.
    """
    folder = Path(folder)
    shape = load_shape(folder)
    with torch.device("meta"):
        model = Qwen3(shape)
    weights = read_weights(folder)
    if shape.tie_word_embeddings:
        weights.setdefault("lm_head.weight", weights.get("model.embed_tokens.weight", torch.empty(0)))
    _check_shapes(folder, model, weights)
    model.load_state_dict({name: tensor.to(device, dtype) for name, tensor in weights.items()}, assign=True)
    if shape.tie_word_embeddings:
        model.lm_head.weight = model.model.embed_tokens.weight
    return model.eval()


def load_shape(folder: Path) -> Shape:
    """The validated `config.json` of a model folder.

    The published block-diffusion checkpoints need not name the mask token there; it is then the tokenizer's, and the
    id that Qwen3's vocabulary leaves for it if the tokenizer has none either (spec 1.2).

    Raises:
        CheckpointError: not a supported model, or a block-diffusion one without a mask token.
    """
    shape = read_shape(load_config(folder), where=str(Path(folder) / "config.json"))
    if not shape.is_diffusion or shape.mask_token_id is not None:
        return shape
    mask_id = getattr(load_tokenizer(folder), "mask_token_id", None)
    if mask_id is None and shape.vocab_size == QWEN3_VOCABULARY:
        mask_id = QWEN3_MASK_ID
    if mask_id is None:
        raise CheckpointError(f"{folder}: neither config.json nor the tokenizer names the mask token")
    return shape.model_copy(update={"mask_token_id": mask_id})


def load_config(folder: Path) -> dict[str, Any]:
    """The raw `config.json` of a model folder.

    Raises:
        CheckpointError: the folder holds none.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{folder} is not a model folder: it has no config.json")
    return read_json(path)


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a model folder.

    Raises:
        CheckpointError: it is missing or cannot be read.
    """
    load_config(folder)
    try:
        # An exported folder brings code for other programs; without the argument we would be asked whether to run it.
        return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: the tokenizer cannot be loaded: {_one_line(error)}") from None


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a model folder, by name.

    Raises:
        CheckpointError: no weights, a missing shard, or a corrupt file; the message names it.
    """
    weights: dict[str, Tensor] = {}
    for path in _weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                weights.update({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118 (not a dict)
        except SafetensorError as error:
            raise CheckpointError(f"{path} is truncated or corrupt: {error}") from None
    return weights


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder: those of its index, or the single one.

    Raises:
        CheckpointError: one of them is missing, or the index names none; the message has the files.
    """
    folder = Path(folder)
    if (folder / INDEX_FILE).is_file():
        places = read_json(folder / INDEX_FILE).get("weight_map")
        if not places:
            raise CheckpointError(f"{folder / INDEX_FILE} has no weight_map")
        names = sorted(set(places.values()))
    else:
        names = [SINGLE_FILE]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(f"{folder}: missing weights: {', '.join(missing)} (of {len(names)} files)")
    return [folder / name for name in names]


def save_model(folder: Path, model: Qwen3, config: dict[str, Any]) -> None:
    """Write weights and `config.json` into `folder`, which must exist (see `opdlm.files.new_folder`).

    A tied head is stored once. The tokenizer is the caller's: see `copy_tokenizer`.

    Raises:
        DataError: the disk is full or the folder cannot be written.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if model.shape.tie_word_embeddings:
        del weights["lm_head.weight"]
    try:
        save_torch_state_dict(weights, folder, max_shard_size="5GB")
    except SafetensorError as error:
        raise DataError(f"cannot write the weights in {folder}: {error}") from error
    write_json(folder / "config.json", config)


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy everything of a model folder that is neither weights nor `config.json`."""
    for file in sorted(Path(source).iterdir()):
        if file.suffix in {".json", ".txt", ".jinja", ".model"} and file.name not in {"config.json", INDEX_FILE}:
            shutil.copyfile(file, Path(folder) / file.name)


@dataclass(frozen=True, slots=True)
class Hub:
    """A Hugging Face hub and the folder that keeps what was downloaded; each is huggingface_hub's own if none."""

    endpoint: str | None = None
    cache: Path | None = None


def local_folder(source: str, revision: str | None = None, hub: Hub = Hub()) -> Path:
    """The folder `source`, or else that of a download of the hub's model `source`, which resumes where it broke off.

    Raises:
        CheckpointError: there is no such folder, and the hub does not give such a model.
    """
    if Path(source).is_dir():
        return Path(source)
    try:
        found = snapshot_download(
            source, revision=revision, allow_patterns=DOWNLOADED, endpoint=hub.endpoint, cache_dir=hub.cache
        )
    except Exception as error:  # the transport's own errors come through, and its library changes with the hub's
        raise CheckpointError(
            f"{source} is not a folder, and it cannot be downloaded (revision {revision or 'main'}): {_one_line(error)}"
        ) from error
    return Path(found)


def fetch(source: str, revision: str | None, out: Path, hub: Hub = Hub()) -> None:
    """Copy a model into `out`: from a local folder, or else from the Hugging Face hub.

    Raises:
        CheckpointError: it cannot be had, or it is not a complete Qwen3 checkpoint.
    """
    folder = local_folder(source, revision, hub)
    load_model(folder)
    with new_folder(out) as temporary:
        for file in sorted(folder.iterdir()):
            if file.is_file():
                shutil.copyfile(file, temporary / file.name)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _check_shapes(folder: Path, model: Qwen3, weights: dict[str, Tensor]) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    missing = sorted(expected.keys() - weights.keys())
    if missing:
        raise CheckpointError(f"{folder}: {len(missing)} tensors are missing, the first is {missing[0]}")
    unknown = sorted(weights.keys() - expected.keys())
    if unknown:
        raise CheckpointError(f"{folder}: {len(unknown)} tensors are not Qwen3's, the first is {unknown[0]}")
    for name, shape in expected.items():
        if tuple(weights[name].shape) != shape:
            raise CheckpointError(
                f"{_holder(folder, name)}: {name} has shape {list(weights[name].shape)}, but {folder / 'config.json'} "
                f"asks for {list(shape)}; they are not of the same model: fetch or convert it again"
            )


def _holder(folder: Path, name: str) -> Path:
    """The file that a tensor, known to be there, was read from: the last one that has it, as in `read_weights`."""
    for path in reversed(_weight_files(folder)):
        with safe_open(path, framework="pt") as file:
            if name in file.keys():  # noqa: SIM118 (not a dict)
                break
    return path

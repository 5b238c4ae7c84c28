"""Export of a block-diffusion model to the layout of SDAR, which SGLang and LMDeploy serve.

What the two read of a folder, by their sources (SGLang: `srt/dllm/config.py`, `srt/models/sdar.py`; LMDeploy:
`pytorch/configurations/sdar.py`, `pytorch/models/sdar.py`) and by the published `JetLM/SDAR-*`:

* `architectures` and `model_type` choose the model; the configuration's class comes through `auto_map`;
* the rotary base is `rope_theta` at the top, as transformers 4 writes it. Without it SGLang takes 10,000;
* `sliding_window` is used if there is one (LMDeploy), and transformers 4 makes it 4096 if it is not null;
* the head is a tensor of its own: SGLang on one device fails with a KeyError on tied ones, published ones are untied;
* the mask token is 151669 for both, whatever the folder says, and its name in the tokenizer is `<|MASK|>`;
* the block length is told to them when they start (SGLang takes 4 if it is not), whatever the folder says.

`block_size` and `mask_token_id` in `config.json` are for our loader and for engines built on transformers.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from opdlm.chat import stop_ids
from opdlm.errors import CheckpointError, DataError
from opdlm.files import new_folder, read_json, write_json, write_text
from opdlm.model.card import METRICS, SETTINGS
from opdlm.model.checkpoint import INDEX_FILE, SINGLE_FILE, load_config, load_model, load_shape, load_tokenizer
from opdlm.model.qwen3 import Qwen3
from opdlm.model.shape import QWEN3_MASK_ID, QWEN3_VOCABULARY, Shape

MASK_TOKEN = "<|MASK|>"
HEAD = "lm_head.weight"
REMOTE_CODE = Path(__file__).with_name("modeling_sdar.py")
AUTO_MAP = {"AutoConfig": "modeling_sdar.SDARConfig", "AutoModelForCausalLM": "modeling_sdar.SDARForCausalLM"}
KEPT = ("generation_config.json", SETTINGS, METRICS, "LICENSE")
"""What goes along as it is, where a folder has it."""


def export_sdar(source: Path, out: Path) -> None:
    """Write the block-diffusion model folder `source` in SDAR's layout to `out`, whole or not at all.

    The files of the weights are hard links where the disk allows it.

    Raises:
        CheckpointError: the source is incomplete or autoregressive, or `out` is not empty.
        DataError: the disk is full or the folder cannot be written.
    """
    source, out = Path(source), Path(out)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise CheckpointError(f"{out} exists and is not an empty folder: remove it, or give another one")
    if not load_shape(source).is_diffusion:
        raise CheckpointError(f"{source} is an autoregressive model; `opdlm convert` makes a block-diffusion one of it")
    model, tokenizer = load_model(source), load_tokenizer(source)
    with new_folder(out) as folder:
        for name in KEPT:
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)
        if not (folder / "generation_config.json").exists():
            write_json(folder / "generation_config.json", {"eos_token_id": stop_ids(tokenizer)})
        write_tokenizer(folder, tokenizer, model.shape)
        write_weights(source, folder, model)
        write_json(folder / "config.json", sdar_config(load_config(source), model))
        shutil.copyfile(REMOTE_CODE, folder / REMOTE_CODE.name)


def sdar_config(source: dict[str, Any], model: Qwen3) -> dict[str, Any]:
    """The source's `config.json` as that of an SDAR model."""
    newer = ("rope_parameters", "dtype")  # transformers 5's names of two fields below
    return {
        **{key: value for key, value in source.items() if key not in newer},
        "architectures": ["SDARForCausalLM"],
        "model_type": "sdar",
        "auto_map": AUTO_MAP,
        "block_size": model.shape.block_size,
        "mask_token_id": model.shape.mask_token_id,
        "rope_theta": model.shape.rope_theta,
        "rope_scaling": None,
        "use_sliding_window": False,
        "sliding_window": None,
        "tie_word_embeddings": False,
        "torch_dtype": str(model.lm_head.weight.dtype).removeprefix("torch."),
    }


def write_weights(source: Path, folder: Path, model: Qwen3) -> None:
    """Link the files of the weights as shards with an index; a tied head becomes one shard more.

    Raises:
        DataError: the disk is full.
    """
    places = weight_map(source)
    files = sorted(set(places.values()))
    total = len(files) + (HEAD not in places)
    shards = [f"model-{number:05}-of-{total:05}.safetensors" for number in range(1, total + 1)]
    renamed = dict(zip(files, shards, strict=False))
    for file, shard in renamed.items():
        link(source / file, folder / shard)
    index = {tensor: renamed[file] for tensor, file in places.items()}
    if HEAD not in places:
        index[HEAD] = shards[-1]
        write_tensor(folder / shards[-1], HEAD, model.lm_head.weight)
    size = sum(tensor.nbytes for tensor in model.state_dict().values())
    write_json(folder / INDEX_FILE, {"metadata": {"total_size": size}, "weight_map": index})


def weight_map(source: Path) -> dict[str, str]:
    """The file of each tensor of a complete model folder."""
    if (source / INDEX_FILE).is_file():
        return read_json(source / INDEX_FILE)["weight_map"]
    with safe_open(source / SINGLE_FILE, framework="pt") as file:
        return dict.fromkeys(file.keys(), SINGLE_FILE)


def link(source: Path, target: Path) -> None:
    """Hard-link a file, or copy it where that is not possible (another disk, another owner)."""
    try:
        os.link(source.resolve(), target)  # of a downloaded model, the name is a link itself
    except OSError:
        shutil.copyfile(source, target)


def write_tensor(path: Path, name: str, tensor: Tensor) -> None:
    """Write a safetensors file of one tensor.

    Raises:
        DataError: the disk is full.
    """
    try:
        save_file({name: tensor.detach().contiguous()}, path, metadata={"format": "pt"})
    except SafetensorError as error:
        raise DataError(f"cannot write {path}: {error}") from error


def write_tokenizer(folder: Path, tokenizer: Any, shape: Shape) -> None:
    """Save the tokenizer so that transformers 4 loads it too; Qwen3's gets SDAR's name of the mask token.

    Raises:
        CheckpointError: the mask token is not where the model has it.
    """
    is_qwen3 = (shape.vocab_size, shape.mask_token_id) == (QWEN3_VOCABULARY, QWEN3_MASK_ID)
    if is_qwen3 and tokenizer.mask_token is None:
        tokenizer.add_special_tokens({"mask_token": MASK_TOKEN})
    if tokenizer.mask_token_id != shape.mask_token_id:
        raise CheckpointError(
            f"{tokenizer.name_or_path}: the tokenizer's mask token has id {tokenizer.mask_token_id}, but config.json "
            f"says {shape.mask_token_id}; they are not of the same model: convert it again"
        )
    tokenizer.save_pretrained(folder)
    settings = folder / "tokenizer_config.json"
    write_json(settings, for_transformers_4(read_json(settings)))
    if is_qwen3:
        for path in (settings, folder / "tokenizer.json"):
            # A token cannot be renamed through the tokenizer. Quotes: only where it is the whole JSON string.
            text = path.read_text(encoding="utf-8")
            write_text(path, text.replace(f'"{tokenizer.mask_token}"', f'"{MASK_TOKEN}"'))


def for_transformers_4(settings: dict[str, Any]) -> dict[str, Any]:
    """A `tokenizer_config.json` of transformers 5 with the names that 4 knows, which 5 reads as well."""
    result = {key: settings[key] for key in settings if key not in ("backend", "is_local", "local_files_only")}
    if isinstance(result.get("extra_special_tokens"), list):
        result["additional_special_tokens"] = result.pop("extra_special_tokens")
    if result.get("tokenizer_class") == "TokenizersBackend":
        result["tokenizer_class"] = "PreTrainedTokenizerFast"
    return result

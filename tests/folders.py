"""Teacher folders of a few thousand random weights, in every layout that a checkpoint may have."""

import json
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict

from opdlm.config.models import TinyArchitecture
from opdlm.data.tiny_tokenizer import build
from opdlm.distill.pretrain import qwen3_config
from opdlm.model.qwen3 import Qwen3
from opdlm.model.shape import read_shape
from tests.family import SMALL

ROPE_THETA = 50_000.0
"""Not the default, so that a base that is not read shows."""
BOTH_ROPE = {"rope_theta": ROPE_THETA, "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA}}
OLD_ROPE = {"rope_theta": ROPE_THETA, "rope_scaling": None}
NEW_ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA}}


def write_teacher(
    folder: Path,
    tokenizer: Any = None,
    architecture: TinyArchitecture = SMALL,
    tied: bool = True,
    dtype: torch.dtype = torch.float32,
    rope: dict[str, Any] = BOTH_ROPE,
    shard_size: str = "5GB",
) -> Path:
    """Write an autoregressive Qwen3 with random weights and a tokenizer to `folder`."""
    tokenizer = tokenizer or build(architecture.vocab_size, ["TinyMath"], seed=0)
    config = qwen3_config(architecture, tokenizer)
    del config["rope_theta"], config["rope_parameters"]
    config |= {"tie_word_embeddings": tied, "torch_dtype": str(dtype).removeprefix("torch."), **rope}
    with torch.random.fork_rng():
        torch.manual_seed(0)  # the modules' own initialisation draws from the global generator
        model = Qwen3(read_shape(config, where="test"))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    weights = {name: tensor.detach().to(dtype).contiguous() for name, tensor in model.state_dict().items()}
    if tied:
        del weights["lm_head.weight"]
    folder.mkdir(parents=True)
    tokenizer.save_pretrained(folder)
    save_torch_state_dict(weights, folder, max_shard_size=shard_size)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def edit_config(folder: Path, **changes: Any) -> None:
    """Change fields of a folder's `config.json`; `...` removes one."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

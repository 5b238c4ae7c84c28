"""Conversion of an autoregressive Qwen3 checkpoint into a block-diffusion initialisation (A2D, spec 1).

No weight changes, unless `mask_init: mean` asks for the mask token's unused embedding row to be the mean of the used
ones. The tokenizer gains `<|mask|>`, the configuration a block size and the mask token's id.
"""

from pathlib import Path
from typing import Any

import torch

from opdlm.config.models import ConvertSettings
from opdlm.errors import CheckpointError
from opdlm.files import new_folder
from opdlm.model.checkpoint import load_config, load_model, load_tokenizer, save_model
from opdlm.model.qwen3 import Qwen3
from opdlm.model.shape import A2D_MODEL_TYPE, QWEN3_MASK_ID, QWEN3_VOCABULARY, Shape

MASK_TOKEN = "<|mask|>"


def convert(source: Path, out: Path, settings: ConvertSettings) -> None:
    """Write the block-diffusion initialisation of the model folder `source` to `out`.

    Raises:
        CheckpointError: the source is incomplete, has no free embedding row, or is a Qwen3 whose mask token would not
            get the id 151669 that every published checkpoint uses.
    """
    model = load_model(source)
    tokenizer: Any = load_tokenizer(source)
    tokenizer.add_special_tokens({"mask_token": MASK_TOKEN})
    mask_id = checked_mask_id(tokenizer, model.shape)
    if settings.mask_init == "mean":
        set_to_mean(model, mask_id)
    with new_folder(out) as folder:
        tokenizer.save_pretrained(folder)
        save_model(folder, model, a2d_config(load_config(source), settings.block_size, mask_id))


def a2d_config(source: dict[str, Any], block_size: int, mask_id: int) -> dict[str, Any]:
    """The source's `config.json` as that of a block-diffusion model."""
    return {
        **source,
        "model_type": A2D_MODEL_TYPE,
        "architectures": ["A2DQwen3ForCausalLM"],
        "block_size": block_size,
        "mask_token_id": mask_id,
    }


def checked_mask_id(tokenizer: Any, shape: Shape) -> int:
    """The mask token's id, if it is a valid one for the model."""
    mask_id = tokenizer.mask_token_id
    if mask_id >= shape.vocab_size:
        raise CheckpointError(f"{MASK_TOKEN} would get id {mask_id}, but the embedding has {shape.vocab_size} rows")
    if shape.vocab_size == QWEN3_VOCABULARY and mask_id != QWEN3_MASK_ID:
        raise CheckpointError(
            f"{MASK_TOKEN} would get id {mask_id} instead of {QWEN3_MASK_ID}: this is not Qwen3's own tokenizer"
        )
    return mask_id


@torch.no_grad()
def set_to_mean(model: Qwen3, mask_id: int) -> None:
    """Set the embedding of the mask token to the mean of the rows before it: it then looks like no token at all."""
    rows = model.model.embed_tokens.weight
    rows[mask_id] = rows[:mask_id].float().mean(dim=0).to(rows.dtype)

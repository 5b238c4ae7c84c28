"""The model card of a model folder: what it is, how it was made, how it is loaded and served."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, RootModel

from opdlm.files import read_json, read_jsonl
from opdlm.identity import settings_hash
from opdlm.model.checkpoint import load_config
from opdlm.model.qwen3 import Qwen3
from opdlm.model.readme import LOAD_OURS, UNSHIFTED, base_model, opening
from opdlm.model.shape import DEFAULT_BLOCK_SIZE, QWEN3_MASK_ID, Shape

SETTINGS, METRICS = "settings.json", "metrics.jsonl"
"""What a training may leave in its model folder: its settings, and a record of each update."""

LOAD_SDAR = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{repo}", trust_remote_code=True)
tokenizer = AutoTokenizer.from_pretrained("{repo}", trust_remote_code=True)
```
"""
SERVE = """
## Serving

SGLang:

```
{config}python3 -m sglang.launch_server --model-path {repo} --trust-remote-code --dllm-algorithm LowConfidence{option}
```

LMDeploy:

```python
from lmdeploy import PytorchEngineConfig, pipeline

pipe = pipeline("{repo}", backend_config=PytorchEngineConfig(dllm_block_length={block_size}))
```
"""
NOT_SERVED = (
    "\nSGLang and LMDeploy cannot serve this model: they take the mask token to be {theirs}, here it is {ours}.\n"
)


class Record(BaseModel):
    """What the card needs of a line of training's metrics."""

    kind: str
    rollout: int = 0
    update: int = 0
    loss_tokens: int = 0


def card(folder: Path, repo: str, model: Qwen3, tokenizer: Any) -> str:
    """The text of the card.

    Args:
        folder: the model folder.
        repo: its id on the hub.
        model, tokenizer: those of the folder.

    Raises:
        DataError: the folder's settings or metrics are truncated or corrupt.
    """
    config = load_config(folder)
    base = base_model(config)
    kind = "block-diffusion" if model.shape.is_diffusion else "autoregressive"
    text = opening(repo.rpartition("/")[2], kind, base, facts(folder, model, tokenizer, base))
    return text + loading(repo, model.shape, is_sdar=config["model_type"] == "sdar") + settings_section(folder)


def facts(folder: Path, model: Qwen3, tokenizer: Any, base: str | None) -> Iterator[tuple[str, str]]:
    """The rows of the card's table."""
    yield "base model", base or "not recorded"
    yield "made by", origin(folder)
    if model.shape.is_diffusion:
        yield "block size", str(model.shape.block_size)
        yield "mask token", f"`{tokenizer.mask_token}`, {model.shape.mask_token_id}"
    count = sum(parameter.numel() for parameter in model.parameters())
    yield "weights", f"{count:,}, {str(model.lm_head.weight.dtype).removeprefix('torch.')}"
    if (folder / SETTINGS).is_file():
        yield "settings hash", settings_hash(RootModel[Any](read_json(folder / SETTINGS)))


def origin(folder: Path) -> str:
    """How the weights came about, by the metrics that training left in the folder."""
    records = read_jsonl(folder / METRICS, Record) if (folder / METRICS).is_file() else []
    updates = [record for record in records if record.kind == "update"]
    if not updates:
        return "not recorded: the folder has no training metrics"
    last = updates[-1]
    return (
        f"distillation: {last.update + 1:,} updates in {last.rollout:,} rollouts, on {last.loss_tokens:,} answer tokens"
    )


def loading(repo: str, shape: Shape, is_sdar: bool) -> str:
    """How the model is loaded, and served if it can be."""
    text = (LOAD_SDAR if is_sdar else LOAD_OURS).format(repo=repo) + (UNSHIFTED if shape.is_diffusion else "")
    if not is_sdar:
        return text
    if shape.mask_token_id != QWEN3_MASK_ID:
        return text + NOT_SERVED.format(theirs=QWEN3_MASK_ID, ours=shape.mask_token_id)
    is_default = shape.block_size == DEFAULT_BLOCK_SIZE  # SGLang's default, too
    return text + SERVE.format(
        repo=repo,
        block_size=shape.block_size,
        config="" if is_default else f"echo 'block_size: {shape.block_size}' > dllm.yaml\n",
        option="" if is_default else " --dllm-algorithm-config dllm.yaml",
    )


def settings_section(folder: Path) -> str:
    """The training's settings in full, if the folder has them."""
    if not (folder / SETTINGS).is_file():
        return ""
    return f"\n## Settings\n\n```json\n{(folder / SETTINGS).read_text(encoding='utf-8').strip()}\n```\n"

"""Training of a tiny autoregressive teacher from scratch, so that the whole job runs without a download."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from opdlm.chat import Tokenizer, render
from opdlm.config.models import PretrainSettings, TinyArchitecture
from opdlm.config.wording import PLAIN
from opdlm.data.prompts import messages
from opdlm.data.tiny import Example, examples
from opdlm.data.tiny_tokenizer import build
from opdlm.distill.schedules import warmup_cosine
from opdlm.files import new_folder
from opdlm.model.attention import causal
from opdlm.model.checkpoint import save_model
from opdlm.model.qwen3 import Qwen3
from opdlm.model.shape import read_shape


@dataclass(frozen=True, slots=True)
class TextBatch:
    """Packed texts: `ids`, `positions` and `targets` are `[tokens]`; a target of -100 carries no loss."""

    ids: Tensor
    positions: Tensor
    targets: Tensor
    lengths: list[int]


def pretrain(settings: PretrainSettings, out: Path) -> None:
    """Build a tokenizer, train a Qwen3 on freshly drawn examples, write a model folder to `out`."""
    tokenizer: Any = build(settings.architecture.vocab_size, settings.tasks, settings.seed)
    config = qwen3_config(settings.architecture, tokenizer)
    model = Qwen3(read_shape(config, where="tiny architecture"))
    model.initialise(torch.Generator().manual_seed(settings.seed))
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.lr, betas=(0.9, 0.95), weight_decay=0.01)
    batches = _batches(tokenizer, settings)
    progress = tqdm(range(settings.steps), desc="teacher", mininterval=5)
    for step in progress:
        optimiser.param_groups[0]["lr"] = settings.lr * warmup_cosine(step, settings.warmup_steps, settings.steps, 0.02)
        batch = next(batches)
        hidden = model(batch.ids, batch.positions, causal(batch.lengths))
        supervised = batch.targets >= 0
        loss = F.cross_entropy(model.logits(hidden[supervised]), batch.targets[supervised])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        progress.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
    with new_folder(out) as folder:
        tokenizer.save_pretrained(folder)
        save_model(folder, model, config)


def qwen3_config(architecture: TinyArchitecture, tokenizer: Any) -> dict[str, Any]:
    """A `config.json` that transformers' `Qwen3ForCausalLM` understands, whatever its version."""
    return {
        **json.loads(architecture.model_dump_json()),
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
        "tie_word_embeddings": True,
        "attention_bias": False,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "torch_dtype": "float32",
    }


def _batches(tokenizer: Tokenizer, settings: PretrainSettings) -> Iterator[TextBatch]:
    stream = examples(settings.tasks, "train", settings.seed)
    while True:
        yield pack(tokenizer, list(islice(stream, settings.batch_size)))


def pack(tokenizer: Tokenizer, batch: list[Example]) -> TextBatch:
    """Prompts with answers in one row; the loss is on the answers and their end token."""
    ids: list[int] = []
    targets: list[int] = []
    lengths: list[int] = []
    for example in batch:
        prompt = render(tokenizer, messages(example.row, PLAIN), thinking=False)
        answer = [*tokenizer.encode(example.answer, add_special_tokens=False), tokenizer.eos_token_id]
        ids += [*prompt, *answer[:-1]]
        targets += [*[-100] * (len(prompt) - 1), *answer]
        lengths.append(len(prompt) + len(answer) - 1)
    positions = torch.cat([torch.arange(length) for length in lengths])
    return TextBatch(torch.tensor(ids), positions, torch.tensor(targets), lengths)

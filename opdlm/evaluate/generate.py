"""Answers of one model to one shard of a benchmark."""

from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from opdlm.chat import Tokenizer, answer_text, render, stop_ids
from opdlm.config.evaluation import GenerateStage
from opdlm.data.prompts import messages
from opdlm.data.rows import Row
from opdlm.decode.engine import Engine
from opdlm.decode.request import Request, Rollout
from opdlm.errors import DataError
from opdlm.files import read_jsonl, write_jsonl
from opdlm.model.checkpoint import load_model, load_tokenizer
from opdlm.records import Sample


def generate_shard(stage: GenerateStage, model: Path, rows: Path, out: Path, device: str = "cpu") -> None:
    """Answer every `shards`-th row, starting at row `shard`, and write one `Sample` a line to `out`.

    Raises:
        DataError: a row is malformed, or its prompt leaves no room for `max_tokens` in the model; the message has
            the file and the line.
        CheckpointError: the model folder is incomplete.
        SettingsError: the strategy does not fit the model.
    """
    tokenizer = load_tokenizer(model)
    network = load_model(model, torch.float32 if device == "cpu" else torch.bfloat16, device)
    requests = shard_requests(stage, rows, tokenizer, network.shape.max_position_embeddings)
    with tqdm(total=len(requests), desc=out.name, unit="answer", mininterval=5) as progress:
        rollouts = Engine(network, stop_ids(tokenizer)).generate(
            list(requests.values()), stage.decoding, on_finish=lambda rollout: progress.update()
        )
    write_jsonl(out, (sample(index, stage, tokenizer, r) for index, r in zip(requests, rollouts, strict=True)))


def shard_requests(stage: GenerateStage, rows: Path, tokenizer: Tokenizer, positions: int) -> dict[int, Request]:
    """The shard's prompts by row index; a request's seed depends on its row and the evaluation's seed only."""
    requests = {}
    for index, row in list(enumerate(read_jsonl(rows, Row)))[stage.shard :: stage.shards]:
        prompt = render(tokenizer, messages(row, stage.prompt), stage.thinking)
        if len(prompt) + stage.max_tokens > positions:
            raise DataError(
                f"{rows}, line {index + 1}: a prompt of {len(prompt)} tokens and max_tokens={stage.max_tokens} exceed "
                f"the model's {positions} positions"
            )
        seed = int(np.random.default_rng([stage.seed, index]).integers(2**62))
        requests[index] = Request(prompt, stage.max_tokens, seed)
    return requests


def sample(index: int, stage: GenerateStage, tokenizer: Tokenizer, rollout: Rollout) -> Sample:
    """The record of one answer."""
    return Sample(
        index=index,
        seed=stage.seed,
        prompt_tokens=len(rollout.prompt),
        ids=rollout.ids,
        steps=rollout.steps,
        text=answer_text(tokenizer, rollout.ids),
        finish=rollout.finish,
    )

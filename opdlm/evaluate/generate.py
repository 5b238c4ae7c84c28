"""Answers of one model to one shard of a benchmark."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from opdlm.chat import Tokenizer, answer_text, render, stop_ids
from opdlm.config.answers import GenerateStage
from opdlm.data.prompts import messages
from opdlm.data.rows import Row
from opdlm.decode.engine import Engine
from opdlm.decode.request import Request, Rollout
from opdlm.errors import DataError
from opdlm.evaluate.journal import Journal
from opdlm.files import read_jsonl, write_jsonl
from opdlm.model.checkpoint import load_model, load_shape, load_tokenizer
from opdlm.model.device import cost
from opdlm.records import Cost, Sample


def generate_shard(stage: GenerateStage, model: Path, rows: Path, out: Path, kept: Path, device: str = "cpu") -> Cost:
    """Answer every `shards`-th row, starting at row `shard`, and write one `Sample` a line to `out`.

    Each answer is kept as soon as it is finished; a generation that was stopped goes on with the rest. The model is
    read only if an answer is missing.

    Args:
        kept: folder for finished answers, see `Journal`.

    Returns:
        what the answers took, all starts together.

    Raises:
        DataError: a row is malformed, or its prompt leaves no room for `max_tokens` in the model; the message has
            the file and the line.
        CheckpointError: the model folder is incomplete.
        SettingsError: the strategy does not fit the model.
    """
    tokenizer = load_tokenizer(model)
    requests = shard_requests(stage, rows, tokenizer, load_shape(model).max_position_embeddings)
    with Journal(stage, model, rows, kept, requests.keys()) as journal:
        waiting = [index for index in requests if index not in journal.answers]
        if waiting:
            network = load_model(model, torch.float32 if device == "cpu" else torch.bfloat16, device)
            engine = Engine(network, stop_ids(tokenizer))
            engine.check([requests[index] for index in waiting], stage.decoding)
            answers = engine.stream([requests[index] for index in waiting], stage.decoding)
            for place, rollout in with_progress(answers, out.name, len(journal.answers), len(requests)):
                journal.append(sample(waiting[place], stage, tokenizer, rollout))
        write_jsonl(out, journal.samples)
        return cost(journal.seconds, device)


def with_progress(
    answers: Iterator[tuple[int, Rollout]], name: str, done: int, total: int
) -> Iterator[tuple[int, Rollout]]:
    """Pass answers on, and show how many there are, the time left, tokens a second and tokens a forward.

    A forward is a denoising step that revealed tokens of the answer; speeds are those of this start's answers.
    """
    began, tokens, steps = time.monotonic(), 0, 0
    with tqdm(initial=done, total=total, desc=name, unit="answer", mininterval=5) as progress:
        for place, rollout in answers:
            yield place, rollout
            tokens += len(rollout.ids)
            steps += len(set(rollout.steps))
            speed = tokens / (time.monotonic() - began)
            progress.set_postfix({"tokens/s": f"{speed:.0f}", "tokens/forward": f"{tokens / steps:.2f}"}, refresh=False)
            progress.update()


def shard_requests(stage: GenerateStage, rows: Path, tokenizer: Tokenizer, positions: int) -> dict[int, Request]:
    """The shard's prompts by row index; a request's seed depends on its row and the evaluation's seed only."""
    requests = {}
    for index, row in list(enumerate(read_jsonl(rows, Row)))[stage.shard :: stage.shards]:
        prompt = render(tokenizer, messages(row, stage.prompt), stage.thinking)
        if len(prompt) + stage.max_tokens > positions:
            raise DataError(
                f"{rows}, line {index + 1}: a prompt of {len(prompt)} tokens and max_tokens={stage.max_tokens} exceed "
                f"the model's {positions} positions; shorten the prompt or lower max_tokens"
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

"""The training prompts as token ids, and the order in which they are used."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from opdlm.chat import Tokenizer, render
from opdlm.config.training import TrainStage
from opdlm.data.prompts import messages
from opdlm.data.rows import Row
from opdlm.errors import DataError
from opdlm.files import read_jsonl


@dataclass(frozen=True, slots=True)
class Prompt:
    """A training prompt: token ids, the longest answer that its domain allows, and the row that it is made of."""

    ids: list[int]
    cap: int
    row: Row


def load_prompts(path: Path, stage: TrainStage, tokenizer: Tokenizer) -> list[Prompt]:
    """Render all rows of a prompt file.

    Prompts longer than `max_prompt_tokens` are left out, as published, and counted on standard error.

    Raises:
        DataError: a row is malformed, or no prompt is left.
    """
    prompts, too_long = [], []
    for number, row in enumerate(read_jsonl(path, Row), start=1):
        ids = render(tokenizer, messages(row, stage.prompt), stage.train.thinking)
        if len(ids) > stage.max_prompt_tokens:
            too_long.append((number, len(ids)))
        else:
            prompts.append(Prompt(ids, stage.train.domain_caps.get(row.domain or "", sys.maxsize), row))
    if too_long:
        number, length = too_long[0]
        message = f"{path}: {len(too_long)} prompts exceed max_prompt_tokens={stage.max_prompt_tokens}"
        detail = f"the first is row {number} with {length} tokens"
        if not prompts:
            raise DataError(f"{message}, so none is left; {detail}")
        print(f"{message} and are left out; {detail}", file=sys.stderr)
    return prompts


def order(count: int, seed: int, begin: int, length: int) -> list[int]:
    """Indices `begin` to `begin + length` of an endless sequence of shuffled epochs over `count` prompts.

    A pure function: the cursor of a resumed run is a number.
    """
    places = range(begin, begin + length)
    epochs = {place // count for place in places}
    shuffled = {epoch: np.random.default_rng([seed, epoch]).permutation(count) for epoch in epochs}
    return [int(shuffled[place // count][place % count]) for place in places]

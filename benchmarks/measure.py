"""Running what is measured: the engine, warm, and transformers' `generate` on the same weights."""

import gc
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import torch
from models import make_requests, transformers_model, variant
from table import Case, Timing
from timing import timed
from torch import Tensor
from ways import Way

from opdlm.decode.engine import Engine
from opdlm.decode.request import Request
from opdlm.model.qwen3 import Qwen3

WARM_UP_STEPS = 8
"""Each of the few sizes of a step comes up, is captured, and is replayed."""
T = TypeVar("T")


def measure(model: Qwen3, case: Case, prompts: list[list[int]], repeats: int) -> Timing:
    """Time the engine: whole runs, of which nothing is compiled any more."""
    engine = Engine(variant(model, case.way.block), stop_ids=[], slots=case.sequences)
    requests = make_requests(prompts, case.new_tokens)
    for count in batch_sizes(case, model.device):
        warm_up(engine, case.way, requests[:count])
    seconds: list[float] = []
    for _ in range(repeats):
        took, answers = timed(lambda: engine.generate(requests, case.way.settings, strategy=case.way.script))
        seconds.append(took)
    return Timing(seconds, sum(len(answer.ids) for answer in answers), [max(answer.steps) for answer in answers])


def batch_sizes(case: Case, device: torch.device) -> list[int]:
    """Numbers of sequences whose steps need kernels of their own.

    Where answers take different numbers of steps, the batch shrinks at the end, and each power of two splits the
    context otherwise. Otherwise all answers of equal length end together.
    """
    shrinks = device.type == "cuda" and case.way.settings.strategy == "dynamic"
    smaller = [1 << power for power in range(case.sequences.bit_length()) if 1 << power < case.sequences]
    return [case.sequences, *(smaller[::-1] if shrinks else [])]


class Enough(Exception):  # noqa: N818 - not an error
    """Ends a warm-up."""


def warm_up(engine: Engine, way: Way, requests: Sequence[Request]) -> None:
    """Take the first steps of a run, prefill included, and drop it.

    The requests are those of the run: the width of the page table is compiled in.
    """
    steps = 0

    def count(_: object) -> None:
        nonlocal steps
        steps += 1
        if steps == WARM_UP_STEPS:
            raise Enough

    with suppress(Enough):
        for _ in engine.stream(requests, way.settings, strategy=way.script, watch=count):
            pass
    release_memory()  # the frames that the exception passed held the cache


def release_memory() -> None:
    """Give the device what nobody holds any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def surviving(run: Callable[[], T], what: str) -> T | None:
    """The result, or none and a line of output if memory runs out: the other configurations can still be measured."""
    release_memory()
    try:
        return run()
    except RuntimeError as error:
        if "out of memory" not in str(error).lower():
            raise
        print(f"{what}  out of memory", flush=True)
        return None


def reference_speed(model: Qwen3, prompts: list[list[int]], new_tokens: int) -> float:
    """Tokens/s of transformers' `generate`, sampling at temperature 1, after a warm-up of 4 tokens."""
    reference, ids = transformers_model(model), torch.tensor(prompts, device=model.device)
    options = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "eos_token_id": None, "pad_token_id": 0}

    def run(count: int) -> Tensor:
        return reference.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, **options)

    run(4)
    seconds, out = timed(lambda: run(new_tokens))
    assert out.shape == (len(prompts), ids.shape[1] + new_tokens)
    return len(prompts) * new_tokens / seconds

"""Decoding speed of the engine, beside the floor of the machine and transformers' `generate` on the same weights.

    python benchmarks/rollout.py                          # the tiny family on the CPU: seconds
    python benchmarks/rollout.py --shape 4B --device cuda --sequences 1 16 128 --new-tokens 512 2048 --reference \\
        --csv rollout.csv

Random weights at the shape of a Qwen3, random prompts of one length, end tokens ignored: every sequence writes exactly
`--new-tokens` tokens. Absolute numbers are printed on a CUDA device only: other machines are too noisy for them.

    static           block diffusion, one token a denoising step
    dynamic          block diffusion with SCRIPTED ACCEPTANCE: random weights are never certain of a token, so a script
                     accepts as many as a trained model might (`Scripted`)
    autoregressive   the same engine and weights, one token a forward

What is printed and written to the CSV:

    tokens/s             new tokens of all sequences / wall time, prefill included; median of `--repeats` runs
    forwards per token   denoising steps of all answers / their tokens; tokens per step is its inverse
    ms per forward       wall time / denoising steps of the answer that took the most (with more requests than
                         sequences, which take each other's place: / mean steps x requests per sequence). Prefill and
                         waking are in it, and so are the forwards in which that answer waited its turn to start a block
    floor                tokens/s if each of those forwards took the least time that the ceilings of this run allow, at
                         the mean context of prompt + half of the new tokens (`floors.py`)
    TFLOP/s, GB/s        the arithmetic and the traffic that the floor counts / wall time
    reference            transformers' `generate` with its default cache, limited to `--reference-tokens` new tokens;
                         where our answers are longer, they need more attention than its. Measured once for each number
                         of sequences, before the engine, whose rows are then written as soon as they are there
    commit               of the code, `-dirty` if the code differs from it, `no git` in a copy without a repository
"""

import argparse
import time
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean

import torch
from ceilings import describe, measure_ceilings
from floors import SHAPES
from measure import measure, reference_speed, surviving
from models import make_requests, random_model, random_prompts, variant
from profiling import profile
from table import Case, append, commit, line, make_row
from timing import device_name
from ways import WAYS

from opdlm.config.decoding import DecodingSettings
from opdlm.decode.engine import Engine
from opdlm.model.qwen3 import Qwen3
from opdlm.model.shape import DEFAULT_BLOCK_SIZE

DIVERGENCE_PROMPTS, DIVERGENCE_TOKENS = 8, 64


def main(arguments: list[str] | None = None) -> None:
    given = parse(arguments)
    device = torch.device(given.device)
    torch.set_num_threads(given.threads)
    ceilings = measure_ceilings() if device.type == "cuda" else None
    code = given.commit or commit()
    print(f"{device_name(device)}, torch {torch.__version__}, commit {code}, random weights, prompts of", end=" ")
    print(f"{given.prompt_tokens} tokens\n{describe(ceilings) if ceilings else 'no ceilings: not a CUDA device'}")
    began = time.perf_counter()
    model = random_model(SHAPES[given.shape], device)
    weights = sum(weight.numel() for weight in model.parameters())
    print(f"{given.shape}: {weights / 1e6:.1f} million weights in {time.perf_counter() - began:.1f} s", flush=True)

    references: dict[int, float | None] = {}
    for index, case in enumerate(cases(given)):
        prompts = random_prompts(model.shape, case.requests, case.prompt_tokens)
        if case.sequences not in references:
            references[case.sequences] = reference_if_wanted(model, prompts[: case.sequences], given)
        timing = surviving(partial(measure, model, case, prompts, given.repeats), str(case))
        if timing is not None:
            row = make_row(case, timing, ceilings, references[case.sequences], model, code)
            print(line(row, timing), flush=True)
            if given.csv is not None:
                append(given.csv, row)
        if given.profile is not None and index == 0:
            surviving(partial(profile, model, case, given.profile), "profile")
    if given.divergence:
        print(divergence(model, max(given.sequences), given.prompt_tokens), flush=True)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="tiny")
    parser.add_argument("--strategy", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--sequences", nargs="+", type=int, default=[16])
    parser.add_argument("--new-tokens", nargs="+", type=int, default=[64])
    parser.add_argument("--prompt-tokens", type=int, default=128)
    parser.add_argument("--waves", type=int, default=1, help="requests for each sequence in flight; default 1")
    parser.add_argument("--repeats", type=int, default=3, help="runs after the warm-up; default 3; the median counts")
    parser.add_argument("--reference", action="store_true", help="also time transformers' generate (always on a CPU)")
    parser.add_argument("--reference-tokens", type=int, default=64)
    parser.add_argument("--csv", type=Path, help="append the rows to this file")
    parser.add_argument("--commit", help="what the rows say about the code; default what git says")
    parser.add_argument("--profile", type=Path, help="write the kernels of the first configuration to this file (CUDA)")
    parser.add_argument(
        "--divergence", action="store_true", help="greedy answers alone against those in the full batch"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    given = parser.parse_args(arguments)
    if given.profile is not None and torch.device(given.device).type != "cuda":
        parser.error("--profile lists a CUDA device's kernels: it needs --device cuda")
    if min(given.repeats, given.waves, *given.sequences, *given.new_tokens, given.prompt_tokens) < 1:
        parser.error("numbers of runs, requests and tokens start at 1")
    return given


def cases(given: argparse.Namespace) -> Iterator[Case]:
    for sequences, new_tokens, name in product(given.sequences, given.new_tokens, given.strategy):
        yield Case(given.shape, WAYS[name], sequences, given.prompt_tokens, new_tokens, given.waves)


def reference_if_wanted(model: Qwen3, prompts: list[list[int]], given: argparse.Namespace) -> float | None:
    if not given.reference and model.device.type == "cuda":
        return None
    return surviving(lambda: reference_speed(model, prompts, given.reference_tokens), "transformers' generate")


def divergence(model: Qwen3, sequences: int, prompt_tokens: int) -> str:
    """How many greedy answers change with the batch, through rounding alone; random weights make near ties frequent."""
    greedy, model = DecodingSettings(strategy="static"), variant(model, DEFAULT_BLOCK_SIZE)
    requests = make_requests(random_prompts(model.shape, sequences, prompt_tokens), DIVERGENCE_TOKENS)
    few = requests[:DIVERGENCE_PROMPTS]
    alone = Engine(model, stop_ids=[], slots=1).generate(few, greedy)
    batched = Engine(model, stop_ids=[], slots=sequences).generate(requests, greedy)
    firsts = [first_difference(one.ids, other.ids) for one, other in zip(alone, batched, strict=False)]
    changed = [first for first in firsts if first is not None]
    where = f", the first time at token {mean(changed):.1f} on average" if changed else ""
    return (
        f"greedy static answers of {DIVERGENCE_TOKENS} tokens, alone against among {sequences}: "
        f"{len(changed)} of {len(few)} ({len(changed) / len(few):.0%}) differ{where}"
    )


def first_difference(left: list[int], right: list[int]) -> int | None:
    """Index of the first token that differs."""
    return next((index for index, (x, y) in enumerate(zip(left, right, strict=True)) if x != y), None)


if __name__ == "__main__":
    main()

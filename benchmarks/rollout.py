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
                         sequences, which take each other's place: / mean steps x requests per sequence)
    floor                tokens/s if each of those forwards took the least time that the ceilings of this run allow, at
                         the mean context of prompt + half of the new tokens (`floors.py`)
    TFLOP/s, GB/s        the arithmetic and the traffic that the floor counts / wall time
    reference            transformers' `generate` with its default cache, limited to `--reference-tokens` new tokens;
                         where our answers are longer, they need more attention than its
"""

import argparse
import csv
import gc
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import cache, partial
from itertools import product
from pathlib import Path
from statistics import mean, median
from typing import TypeVar

import torch
from ceilings import describe, device_name, kernel_table, measure_ceilings, profiled, timed
from floors import SHAPES, Ceilings, floor_tokens_per_second, forward_work
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM

from opdlm.config.decoding import DecodingSettings
from opdlm.decode.engine import Engine
from opdlm.decode.request import Request, Rollout
from opdlm.decode.strategy import RemaskingStrategy
from opdlm.model.qwen3 import Qwen3
from opdlm.model.shape import DEFAULT_BLOCK_SIZE, QWEN3_MASK_ID, QWEN3_VOCABULARY, Shape

HIGHEST_ID = 150_000
"""Prompts are drawn below it, where every id is an ordinary token of Qwen3."""
WARM_UP_TOKENS = 16
PROFILED_TOKENS = 8 * DEFAULT_BLOCK_SIZE
DIVERGENCE_PROMPTS, DIVERGENCE_TOKENS = 8, 64
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scripted:
    """Accepts the most confident masked position, and each other one with a fixed probability.

    The randomness comes out of the confidence's own bits, so that the choice needs no generator, does not synchronise
    with the host, and can be captured in a CUDA graph.
    """

    probability: float

    def accept(self, confidence: Tensor, masked: Tensor) -> Tensor:
        # Knuth's multiplicative hash: the upper bits of the product depend on all bits of the mantissa.
        bits = confidence.float().contiguous().view(torch.int32).long()
        uniform = (bits * 2_654_435_761 % 2**32) / 2**32
        best = confidence.masked_fill(~masked, -1.0).argmax(dim=-1, keepdim=True)
        return masked & ((uniform < self.probability) | torch.zeros_like(masked).scatter(-1, best, True))


@dataclass(frozen=True, slots=True)
class Way:
    """One way to decode: what it is called, tokens a block, settings, and what replaces the settings' strategy."""

    name: str
    block: int
    settings: DecodingSettings
    script: RemaskingStrategy | None = None


WAYS = {
    "static": Way("static", DEFAULT_BLOCK_SIZE, DecodingSettings(strategy="static", temperature=1.0)),
    "dynamic": Way(
        "dynamic (scripted acceptance)",
        DEFAULT_BLOCK_SIZE,
        DecodingSettings(strategy="dynamic", temperature=1.0),
        # A block of 4 takes 2.10 steps on average, 1.90 tokens each: with T(m) steps for m masked positions,
        # T(m) = 1 + sum over k of Binomial(k; m - 1, 0.528) T(m - 1 - k).
        Scripted(probability=0.528),
    ),
    "autoregressive": Way("autoregressive", 1, DecodingSettings(strategy="autoregressive", temperature=1.0)),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One configuration to measure."""

    shape: str
    way: Way
    sequences: int
    prompt_tokens: int
    new_tokens: int
    waves: int

    @property
    def requests(self) -> int:
        return self.sequences * self.waves

    def __str__(self) -> str:
        return f"{self.shape:5}{self.way.name:30}{self.sequences:4} x {self.new_tokens:<5}"


@dataclass(frozen=True, slots=True)
class Timing:
    """What the runs of a case took: seconds of each; new tokens and each answer's denoising steps of one run."""

    seconds: list[float]
    tokens: int
    steps: list[int]

    @property
    def forwards_per_token(self) -> float:
        return sum(self.steps) / self.tokens

    def forwards(self, waves: int) -> float:
        """Forwards of a run: those of its slowest answer; with more waves, where others fill up, the mean of each."""
        return max(self.steps) if waves == 1 else mean(self.steps) * waves


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the CSV; what is not measured is empty (on a CPU all that is absolute)."""

    date: str
    commit: str
    device: str
    shape: str
    strategy: str
    sequences: int
    requests: int
    prompt_tokens: int
    new_tokens: int
    tokens_per_second: float | None
    forwards_per_token: float
    tokens_per_step: float
    ms_per_forward: float | None
    tflops: float | None
    gbps: float | None
    floor_tokens_per_second: float | None
    fraction_of_floor: float | None
    ceiling_tflops: float | None
    ceiling_gbps: float | None
    reference_tokens_per_second: float | None
    ratio_to_reference: float | None


def main(arguments: list[str] | None = None) -> None:
    given = parse(arguments)
    device = torch.device(given.device)
    torch.set_num_threads(given.threads)
    ceilings = measure_ceilings() if device.type == "cuda" else None
    print(f"{device_name(device)}, torch {torch.__version__}, commit {commit()}, random weights, prompts of", end=" ")
    print(f"{given.prompt_tokens} tokens\n{describe(ceilings) if ceilings else 'no ceilings: not a CUDA device'}")
    began = time.perf_counter()
    model = random_model(SHAPES[given.shape], device)
    weights = sum(weight.numel() for weight in model.parameters())
    print(f"{given.shape}: {weights / 1e6:.1f} million weights in {time.perf_counter() - began:.1f} s", flush=True)

    references: dict[int, float | None] = {}
    for index, case in enumerate(cases(given)):
        prompts = random_prompts(model.shape, case.requests, case.prompt_tokens)
        timing = surviving(partial(measure, model, case, prompts, given.repeats), str(case))
        if case.sequences not in references:
            references[case.sequences] = reference_if_wanted(model, prompts[: case.sequences], given)
        if timing is not None:
            row = make_row(case, timing, ceilings, references[case.sequences], model)
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
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--reference", action="store_true", help="also time transformers' generate (always on a CPU)")
    parser.add_argument("--reference-tokens", type=int, default=64)
    parser.add_argument("--csv", type=Path, help="append the rows to this file")
    parser.add_argument("--profile", type=Path, help="write the kernels of the first configuration to this file (CUDA)")
    parser.add_argument(
        "--divergence", action="store_true", help="greedy answers alone against those in the full batch"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    given = parser.parse_args(arguments)
    if given.profile is not None and torch.device(given.device).type != "cuda":
        parser.error("--profile lists a CUDA device's kernels: it needs --device cuda")
    return given


def cases(given: argparse.Namespace) -> Iterator[Case]:
    for sequences, new_tokens, name in product(given.sequences, given.new_tokens, given.strategy):
        yield Case(given.shape, WAYS[name], sequences, given.prompt_tokens, new_tokens, given.waves)


# The models: one set of weights, whatever reads it.


def random_model(shape: Shape, device: torch.device) -> Qwen3:
    """An autoregressive model, its weights drawn once and where they stay; bf16, on a CPU fp32."""
    with torch.device("meta"):
        model = Qwen3(shape).to(torch.bfloat16 if device.type == "cuda" else torch.float32)
    model.to_empty(device=device).requires_grad_(False).eval()
    if shape.tie_word_embeddings:
        model.lm_head.weight = model.model.embed_tokens.weight  # `to_empty` unties them
    generator = torch.Generator(device).manual_seed(0)
    for weight in model.parameters():
        weight.fill_(1) if weight.dim() == 1 else weight.normal_(std=0.02, generator=generator)
    return model


def variant(model: Qwen3, way: Way) -> Qwen3:
    """The model as this way of decoding needs it, with the same parameters."""
    blocks = {"block_size": way.block, "mask_token_id": mask_token(model.shape)} if way.block > 1 else {}
    with torch.device("meta"):
        other = Qwen3(model.shape.model_copy(update=blocks))
    # The Parameters themselves, not their data: the engine may move the data into fused matrices.
    other.load_state_dict(model.state_dict(keep_vars=True), assign=True)
    return other.eval()


def transformers_model(model: Qwen3) -> Qwen3ForCausalLM:
    """transformers' model with the same parameters."""
    shape = model.shape.model_dump(exclude={"model_type", "rope_theta", "block_size", "mask_token_id"})
    rope = {"rope_type": "default", "rope_theta": model.shape.rope_theta}
    config = Qwen3Config(**shape, rope_parameters=rope, dtype=model.lm_head.weight.dtype)
    with torch.device("meta"):
        other = Qwen3ForCausalLM(config)
    other.load_state_dict(model.state_dict(keep_vars=True), assign=True)
    with torch.device(model.device):  # its frequencies are no parameters, so they are still without values
        other.model.rotary_emb = type(other.model.rotary_emb)(config)
    return other.eval()


def mask_token(shape: Shape) -> int:
    return QWEN3_MASK_ID if shape.vocab_size == QWEN3_VOCABULARY else shape.vocab_size - 1


def random_prompts(shape: Shape, sequences: int, tokens: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(min(HIGHEST_ID, mask_token(shape)), (sequences, tokens), generator=generator).tolist()


# Measuring.


def measure(model: Qwen3, case: Case, prompts: list[list[int]], repeats: int) -> Timing:
    """Time the engine."""
    engine = Engine(variant(model, case.way), stop_ids=[], slots=case.sequences)
    for _ in start(engine, case.way, prompts[: case.sequences], min(case.new_tokens, WARM_UP_TOKENS + PROFILED_TOKENS)):
        pass  # to its end: it compiles for smaller batches too
    requests = make_requests(prompts, case.new_tokens)
    seconds: list[float] = []
    for _ in range(repeats):
        took, answers = timed(lambda: engine.generate(requests, case.way.settings, strategy=case.way.script))
        seconds.append(took)
    return Timing(seconds, sum(len(answer.ids) for answer in answers), [max(answer.steps) for answer in answers])


def make_requests(prompts: list[list[int]], new_tokens: int) -> list[Request]:
    return [Request(prompt, new_tokens, seed) for seed, prompt in enumerate(prompts)]


def start(engine: Engine, way: Way, prompts: list[list[int]], new_tokens: int) -> Iterator[tuple[int, Rollout]]:
    """The stream of a full run, past prefill: compiled, captured, with its caches at their full size.

    The last sequence is a short one; once its answer is out, the others are under way.
    """
    short = Request(prompts[-1], min(WARM_UP_TOKENS, new_tokens))
    stream = engine.stream([*make_requests(prompts[:-1], new_tokens), short], way.settings, strategy=way.script)
    next(stream)
    return stream


def surviving(run: Callable[[], T], what: str) -> T | None:
    """The result, or none and a line of output if memory runs out: the other configurations can still be measured."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    try:
        return run()
    except RuntimeError as error:
        if "out of memory" not in str(error).lower():
            raise
        print(f"{what}  out of memory", flush=True)
        return None


def reference_if_wanted(model: Qwen3, prompts: list[list[int]], given: argparse.Namespace) -> float | None:
    if not given.reference and model.device.type == "cuda":
        return None
    return surviving(lambda: reference_speed(model, prompts, given.reference_tokens), "transformers' generate")


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


def divergence(model: Qwen3, sequences: int, prompt_tokens: int) -> str:
    """How many greedy answers change with the batch, through rounding alone; random weights make near ties frequent."""
    way = Way("greedy", DEFAULT_BLOCK_SIZE, DecodingSettings(strategy="static"))
    requests = make_requests(random_prompts(model.shape, sequences, prompt_tokens), DIVERGENCE_TOKENS)
    few = requests[:DIVERGENCE_PROMPTS]
    alone = Engine(variant(model, way), stop_ids=[], slots=1).generate(few, way.settings)
    batched = Engine(variant(model, way), stop_ids=[], slots=sequences).generate(requests, way.settings)
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


# Profiling and reporting.


def profile(model: Qwen3, case: Case, path: Path) -> None:
    """Print, and write to a file, the kernels of 8 blocks in mid-answer and the part of the time that they fill.

    The context is the mean one of the case.
    """
    context, length = case.prompt_tokens + case.new_tokens // 2, WARM_UP_TOKENS + PROFILED_TOKENS
    prompts = random_prompts(model.shape, case.sequences, context)
    engine = Engine(variant(model, case.way), stop_ids=[], slots=case.sequences)
    for _ in start(engine, case.way, prompts, length):
        pass  # once without the profiler: it compiles and captures
    stream = start(engine, case.way, prompts, length)
    kernels, wall = profiled(lambda: next(stream, None))
    stream.close()
    head = f"{case}: {PROFILED_TOKENS} tokens of each sequence, behind {context + WARM_UP_TOKENS} of context"
    report = f"{head}\n{kernel_table(kernels, wall)}"
    print(report, end="", flush=True)
    path.write_text(report, encoding="utf-8")


def make_row(case: Case, timing: Timing, ceilings: Ceilings | None, reference: float | None, model: Qwen3) -> Row:
    """The row of a case; only the CUDA device, which has ceilings, gets absolute numbers."""
    seconds = median(timing.seconds)
    speed, per_step = timing.tokens / seconds, 1 / timing.forwards_per_token
    context = case.prompt_tokens + case.new_tokens / 2
    work = forward_work(model.shape, case.sequences, case.way.block, context)
    forwards_per_second = mean(timing.steps) * case.waves / seconds
    floor = floor_tokens_per_second(work, ceilings, case.sequences, per_step) if ceilings else None
    return Row(
        date=datetime.now(UTC).date().isoformat(),
        commit=commit(),
        device=device_name(model.device),
        shape=case.shape,
        strategy=case.way.name,
        sequences=case.sequences,
        requests=case.requests,
        prompt_tokens=case.prompt_tokens,
        new_tokens=case.new_tokens,
        tokens_per_second=speed if ceilings else None,
        forwards_per_token=timing.forwards_per_token,
        tokens_per_step=per_step,
        ms_per_forward=seconds / timing.forwards(case.waves) * 1e3 if ceilings else None,
        tflops=work.flops * forwards_per_second / 1e12 if ceilings else None,
        gbps=work.traffic * forwards_per_second / 1e9 if ceilings else None,
        floor_tokens_per_second=floor,
        fraction_of_floor=speed / floor if floor else None,
        ceiling_tflops=ceilings.flops / 1e12 if ceilings else None,
        ceiling_gbps=ceilings.bandwidth / 1e9 if ceilings else None,
        reference_tokens_per_second=reference if ceilings else None,
        ratio_to_reference=speed / reference if reference else None,
    )


def line(row: Row, timing: Timing) -> str:
    """A row as it is printed."""
    text = f"{row.shape:5}{row.strategy:30}{row.sequences:4} x {row.new_tokens:<5}"
    text += f" {row.requests} requests" if row.requests != row.sequences else ""
    if row.tokens_per_second is not None:
        text += f"{row.tokens_per_second:8.0f} tok/s {row.ms_per_forward:8.3f} ms/fwd"
    text += f" {row.forwards_per_token:6.3f} fwd/tok ({row.tokens_per_step:.2f} tok/step)"
    if row.floor_tokens_per_second is not None:
        text += f" {row.tflops:6.1f} TFLOP/s {row.gbps:6.0f} GB/s"
        text += f"  {row.fraction_of_floor:6.1%} of floor {row.floor_tokens_per_second:.0f} tok/s"
    if row.ratio_to_reference is not None:
        text += f"  {row.ratio_to_reference:6.2f} x transformers"
    if row.reference_tokens_per_second is not None:
        text += f" ({row.reference_tokens_per_second:.0f} tok/s)"
    if row.tokens_per_second is not None:
        text += f"  runs {' '.join(f'{seconds:.2f}' for seconds in timing.seconds)} s"
    return text


def append(path: Path, row: Row) -> None:
    """Add a row to the CSV, with the header if the file is new."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(asdict(row))


@cache
def commit() -> str:
    """The commit of this file's repository, or nothing where there is none."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return found.stdout.strip()


if __name__ == "__main__":
    main()

"""Attention of a denoising step over the cached context, with different back ends.

    python benchmarks/attention.py                        # on a CUDA device
    python benchmarks/attention.py --tune --shape 4B --sequences 16
    python benchmarks/attention.py --device cpu           # tiny, without times: do they compute the same?

Every sequence has a block of four new tokens and every fourth one two of them, as in the engine's steps; all have the
same context, the new tokens included. The heads of 0.6B are those of 1.7B, and those of 4B those of 8B.

    us/layer    time of one layer: a CUDA graph of all layers is replayed, and each layer has a cache of its own, of
                which the device's caches hold next to nothing; median of 9 replays
    TB/s        keys and values, read once, / that time
    of copy     as a part of the copy rate measured in the same run
    error       |out - exact| / |exact| over some tokens of the first and the last layer; exact is brute force in fp64

What is called, and in which layout, is in `backends.py`. A back end that cannot be captured in a graph is timed as a
host calls it, which the line then says.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import torch
from backends import BACKENDS, Backend, Launch, Ours, Tuned, Unavailable
from ceilings import describe, measure_ceilings
from floors import SHAPES, Ceilings
from problem import BLOCK, Problem, brute_force, make_problem
from timing import device_name, graph_seconds, median_seconds

from opdlm.model.shape import Shape

CACHED = 1.5e9
"""Bytes of keys and values in all layers together, at least: many times the 50 to 60 MB of the device's caches."""
LAYERS_ON_CPU = 2
PROGRAMS = 2048
"""Of the tuned launches at most: four times those that the engine aims at."""
BOUND = {torch.bfloat16: 2e-2, torch.float32: 1e-4}
"""An error above it is no rounding."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one back end did; seconds of a layer are missing on a CPU."""

    name: str
    error: float
    seconds: float | None = None
    remark: str = ""


@torch.no_grad()
def main(arguments: list[str] | None = None) -> list[Result]:
    given = parse(arguments)
    device = torch.device(given.device)
    ceilings = measure_ceilings() if device.type == "cuda" else None
    print(f"{device_name(device)}, torch {torch.__version__}")
    print(describe(ceilings) if ceilings else "no times: not a CUDA device", flush=True)
    results = []
    for name, sequences, context in product(given.shape, given.sequences, given.context):
        layers = layers_needed(SHAPES[name], sequences, context) if ceilings else LAYERS_ON_CPU
        shape = SHAPES[name].model_copy(update={"num_hidden_layers": layers})
        problem = make_problem(shape, sequences, context, device)
        heads, kv_heads = shape.num_attention_heads, shape.num_key_value_heads
        print(f"{name}: {heads} query and {kv_heads} key heads of {shape.head_dim}, {sequences} sequences,", end=" ")
        print(f"context {context}, {layers} layers of {problem.bytes / 1e6:.1f} MB", flush=True)
        results += run(problem, tuned(problem) if given.tune else chosen(given.backend), ceilings)
    return results


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--shape", nargs="+", choices=SHAPES, help="default 0.6B and 4B, on a CPU tiny")
    parser.add_argument("--sequences", nargs="+", type=int, help="default 128 and 16, on a CPU 5")
    parser.add_argument("--context", nargs="+", type=int, help="default 384 and 1152, on a CPU 40")
    parser.add_argument("--backend", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    parser.add_argument("--tune", action="store_true", help="instead: our kernel over splits, warps and stages")
    given = parser.parse_args(arguments)
    cpu = torch.device(given.device).type == "cpu"
    given.shape = given.shape or (["tiny"] if cpu else ["0.6B", "4B"])
    given.sequences = given.sequences or ([5] if cpu else [128, 16])
    given.context = given.context or ([40] if cpu else [384, 1152])
    if any(context % BLOCK or context < 2 * BLOCK for context in given.context):
        parser.error(f"--context: multiples of {BLOCK} from {2 * BLOCK}, whole blocks")
    return given


def layers_needed(shape: Shape, sequences: int, context: int) -> int:
    """Layers of bf16 keys and values that the device's caches cannot hold."""
    return 1 + int(CACHED / (4 * shape.num_key_value_heads * shape.head_dim * sequences * context))


def chosen(names: list[str]) -> Iterator[tuple[str, Callable[[Problem], Backend]]]:
    for name in names:
        yield BACKENDS[name].name, BACKENDS[name]


def tuned(problem: Problem) -> Iterator[tuple[str, Callable[[Problem], Backend]]]:
    """The engine's own launch, then others."""
    yield Ours.name, Ours
    programs = len(problem.tokens.tile_slots) * problem.shape.num_key_value_heads
    splits = [splits for splits in (1, 2, 4, 8, 16) if splits == 1 or splits * programs <= PROGRAMS]
    for launch in (Launch(*values) for values in product(splits, (2, 4, 8), (2, 3))):
        yield str(launch), lambda problem, launch=launch: Tuned(problem, launch)


def run(
    problem: Problem, backends: Iterator[tuple[str, Callable[[Problem], Backend]]], ceilings: Ceilings | None
) -> list[Result]:
    """Check and time back ends and print a line for each; one that fails does not keep the others from running."""
    results = []
    for name, make in backends:
        try:
            result = measured(make(problem), ceilings is not None)
        except Unavailable as why:
            print(f"  {name:38} {why}", flush=True)
        except Exception as error:
            print(f"  {name:38} failed: {one_line(error)}", flush=True)
        else:
            print(line(result, problem, ceilings), flush=True)
            results.append(result)
        if ceilings is not None:
            torch.cuda.empty_cache()
    right = [result for result in results if result.seconds is not None and is_right(result, problem)]
    if len(results) > 1 and right:
        print(f"  fastest that is right: {min(right, key=lambda result: result.seconds).name}", flush=True)
    return results


def measured(backend: Backend, time_it: bool) -> Result:
    """Error and, if wanted, time of a layer."""
    wrong = error(backend)
    if not time_it:
        return Result(backend.name, wrong)
    layers, stream = len(backend.problem.cache.entries), torch.cuda.current_stream()

    def forward() -> None:
        for layer in range(layers):
            backend(layer)

    try:
        return Result(backend.name, wrong, graph_seconds(forward) / layers)
    except RuntimeError as why:
        torch.cuda.set_stream(stream)  # a capture that breaks off leaves its own behind
        seconds = median_seconds(forward, repeats=9, warm_up=2) / layers
        return Result(backend.name, wrong, seconds, f"  without a graph: {one_line(why)}")


def error(backend: Backend) -> float:
    """Relative error: of both blocks of the first tile, of a token in the middle, and of the last one."""
    problem = backend.problem
    count = len(problem.query)
    tokens = sorted({0, BLOCK - 1, BLOCK, 2 * BLOCK - 1, count // 2, count - 1})
    difference = size = 0.0
    for layer in sorted({0, len(problem.cache.entries) - 1}):
        out = backend.flat(backend(layer)).double()
        exact = torch.stack([brute_force(problem, layer, token) for token in tokens])
        difference += float((out[tokens] - exact).square().sum())
        size += float(exact.square().sum())
    return (difference / size) ** 0.5


def line(result: Result, problem: Problem, ceilings: Ceilings | None) -> str:
    """A result as it is printed."""
    text = f"  {result.name:38}"
    if result.seconds is not None and ceilings is not None:
        rate = problem.bytes / result.seconds
        text += f"{result.seconds * 1e6:9.1f} us/layer {rate / 1e12:6.2f} TB/s {rate / ceilings.bandwidth:6.1%} of copy"
    text += f"  error {result.error:.1e}"
    return text + ("" if is_right(result, problem) else "  WRONG") + result.remark


def is_right(result: Result, problem: Problem) -> bool:
    """Whether the error is one of rounding; not a number is none."""
    return result.error < BOUND[problem.query.dtype]


def one_line(error: Exception) -> str:
    """What an error says first, and its type."""
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0] if said else ''}"[:160]


if __name__ == "__main__":
    main()

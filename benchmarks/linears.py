"""Time of a forward's matrix products alone: all linear layers, and the LM head, over the tokens of a step.

    python benchmarks/linears.py                          # on a CUDA device
    python benchmarks/linears.py --shape 4B --tokens 512 640 768 --parts
    python benchmarks/linears.py --device cpu             # tiny, without times

Query, key and value projections are one product, gate and up another, as in the decoding forward. Every layer has
weights of its own, random ones, and all products of a forward are replayed as one CUDA graph; median of 9 replays.

    ms                 of all layers together, and of the LM head over as many tokens
    TFLOP/s, TB/s      arithmetic; weights, read once, / that time
    of floor           what both would take at the ceilings measured in the same run / that time

The last lines of a shape compare steps of 4 n and of 6 n tokens with two of 5 n: `n` sequences that start a block half
at a time, or equally many in every step.
"""

import argparse
from dataclasses import dataclass

import torch
from ceilings import describe, measure_ceilings
from floors import BYTES, SHAPES, Ceilings, Work
from timing import device_name, graph_seconds
from torch import Tensor
from torch.nn import functional as F

from opdlm.model.shape import Shape

TOKENS = [64, 80, 96, 128, 256, 320, 512, 640, 768, 1024]


@dataclass(frozen=True, slots=True)
class Matrix:
    """One product of a layer: its name, and how many numbers of a token go in and come out."""

    name: str
    inputs: int
    outputs: int

    def weight(self, device: torch.device) -> Tensor:
        """Random weights, `[outputs, inputs]`."""
        return random(self.outputs, self.inputs, device)

    def work(self, tokens: int) -> Work:
        """Its arithmetic, and the traffic of its weights."""
        return Work(2 * tokens * self.inputs * self.outputs, BYTES * self.inputs * self.outputs)


@dataclass(frozen=True, slots=True)
class Products:
    """Matrix products of a forward that follow each other.

    Attributes:
        matrices: those of one layer.
        layers: the weights of each layer, in the same order.
    """

    matrices: list[Matrix]
    layers: list[list[Tensor]]

    def work(self, tokens: int) -> Work:
        """Of all layers."""
        each = [matrix.work(tokens) for matrix in self.matrices]
        flops, traffic = sum(work.flops for work in each), sum(work.traffic for work in each)
        return Work(len(self.layers) * flops, len(self.layers) * traffic)

    def part(self, index: int) -> "Products":
        """One of the products, in all layers."""
        return Products([self.matrices[index]], [[layer[index]] for layer in self.layers])

    def seconds(self, tokens: int) -> float | None:
        """Time of all of them; on a CPU they run, but are not timed."""
        device = self.layers[0][0].device
        inputs = [random(tokens, matrix.inputs, device) for matrix in self.matrices]

        def forward() -> None:
            for layer in self.layers:
                for x, weight in zip(inputs, layer, strict=True):
                    F.linear(x, weight)

        if device.type == "cuda":
            return graph_seconds(forward)
        forward()
        return None


@torch.no_grad()
def main(arguments: list[str] | None = None) -> None:
    given = parse(arguments)
    device = torch.device(given.device)
    ceilings = measure_ceilings() if device.type == "cuda" else None
    print(f"{device_name(device)}, torch {torch.__version__}")
    print(describe(ceilings) if ceilings else "no times: not a CUDA device", flush=True)
    for name in given.shape:
        measure(name, given.tokens, given.parts, ceilings, device)
        if ceilings:
            torch.cuda.empty_cache()


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--shape", nargs="+", choices=SHAPES, help="default all of Qwen3's, on a CPU tiny")
    parser.add_argument("--tokens", nargs="+", type=int, default=TOKENS)
    parser.add_argument("--parts", action="store_true", help="also the time of each of a layer's products")
    given = parser.parse_args(arguments)
    tiny = torch.device(given.device).type == "cpu"
    given.shape = given.shape or (["tiny"] if tiny else [name for name in SHAPES if name != "tiny"])
    return given


def measure(name: str, tokens: list[int], parts: bool, ceilings: Ceilings | None, device: torch.device) -> None:
    """Print a line for each number of tokens."""
    layers, head = linears(SHAPES[name], device), lm_head(SHAPES[name], device)
    taken: dict[int, float] = {}
    for count in tokens:
        seconds = layers.seconds(count)
        text = f"{name:5}{count:5} tokens  linears {rates(layers.work(count), seconds, ceilings)}"
        print(f"{text}  LM head {rates(head.work(count), head.seconds(count), ceilings)}", flush=True)
        if parts:
            print(parts_line(layers, count, ceilings), flush=True)
        if seconds is not None:
            taken[count] = seconds
    for text in halves(name, taken):
        print(text, flush=True)


def linears(shape: Shape, device: torch.device) -> Products:
    """All layers of a model of this shape."""
    matrices = layer_matrices(shape)
    layers = range(shape.num_hidden_layers)
    return Products(matrices, [[matrix.weight(device) for matrix in matrices] for _ in layers])


def layer_matrices(shape: Shape) -> list[Matrix]:
    """The products of one layer."""
    hidden, width = shape.hidden_size, shape.intermediate_size
    queries, keys = shape.num_attention_heads * shape.head_dim, shape.num_key_value_heads * shape.head_dim
    return [
        Matrix("qkv", hidden, queries + 2 * keys),
        Matrix("out", queries, hidden),
        Matrix("gate_up", hidden, 2 * width),
        Matrix("down", width, hidden),
    ]


def lm_head(shape: Shape, device: torch.device) -> Products:
    """The LM head, alone."""
    matrix = Matrix("LM head", shape.hidden_size, shape.vocab_size)
    return Products([matrix], [[matrix.weight(device)]])


def rates(work: Work, seconds: float | None, ceilings: Ceilings | None) -> str:
    """Time and rates; without them, what there is to do."""
    if seconds is None or ceilings is None:
        return f"{work.flops / 1e9:8.3f} GFLOP {work.traffic / 1e6:8.2f} MB in bf16"
    return (
        f"{seconds * 1e3:7.3f} ms {work.flops / seconds / 1e12:4.0f} TFLOP/s {work.traffic / seconds / 1e12:5.2f} TB/s"
        f" {work.seconds(ceilings) / seconds:4.0%} of floor"
    )


def parts_line(layers: Products, tokens: int, ceilings: Ceilings | None) -> str:
    """Each product over all layers."""
    parts = [layers.part(index) for index in range(len(layers.matrices))]
    each = [f"{part.matrices[0].name} {rates(part.work(tokens), part.seconds(tokens), ceilings)}" for part in parts]
    return "    " + "; ".join(each)


def halves(name: str, seconds: dict[int, float]) -> list[str]:
    """A line for each `n` of which 4 n, 5 n and 6 n tokens have been timed."""
    lines = []
    for count in [count // 5 for count in seconds if count % 5 == 0]:
        if 4 * count in seconds and 6 * count in seconds:
            halved, even = seconds[4 * count] + seconds[6 * count], 2 * seconds[5 * count]
            lines.append(
                f"{name:5}n = {count}: {4 * count} and {6 * count} tokens {halved * 1e3:.3f} ms, "
                f"twice {5 * count} {even * 1e3:.3f} ms, {even / halved - 1:+.1%}"
            )
    return lines


def random(rows: int, columns: int, device: torch.device) -> Tensor:
    """bf16, on a CPU fp32. Not zeros, on which the device would clock higher than on any real numbers."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    return torch.empty(rows, columns, device=device, dtype=dtype).normal_(std=0.02)


if __name__ == "__main__":
    main()

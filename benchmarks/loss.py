"""The loss of an update alone: both models' logits at the loss positions, the divergence, and all gradients.

    python benchmarks/loss.py --device cuda --shape 4B 1.7B
    python benchmarks/loss.py                             # tiny, on the CPU: without times

Random hidden states and LM heads, bf16 on a CUDA device. A whole chunk's divergence is compiled there (`compiled`), or
not (`eager`).

    ms         median of 9 after a warm-up, by the device's clock
    peak       of the device's memory beyond hidden states and heads
"""

import argparse
from collections.abc import Callable
from itertools import product
from unittest import mock

import torch
from floors import SHAPES
from linears import random
from measure import release_memory
from timing import device_name, median_seconds
from torch import Tensor

from opdlm.config.training import DivergenceSettings
from opdlm.distill import divergence as loss_module
from opdlm.distill.divergence import chunked_loss, divergence, divergence_in_chunk

FORMS: dict[str, Callable[..., Tensor]] = {"eager": divergence, "compiled": divergence_in_chunk}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shape", nargs="+", choices=SHAPES, default=["tiny"])
    parser.add_argument("--positions", type=int, help="with a loss; default 5,000, on a CPU 100")
    parser.add_argument("--top-k", type=int, default=0)
    parser.add_argument("--chunk", nargs="+", type=int, default=[1024, loss_module.CHUNK, 256, 128])
    given = parser.parse_args(arguments)
    device = torch.device(given.device)
    positions = given.positions or (5000 if device.type == "cuda" else 100)
    print(f"{device_name(device)}, torch {torch.__version__}; {positions} positions", flush=True)
    for shape, form, chunk in product(given.shape, FORMS, given.chunk):
        run = update(shape, positions, FORMS[form], DivergenceSettings(top_k=given.top_k), device)
        with mock.patch.object(loss_module, "CHUNK", chunk):
            print(f"{shape:5}{form:9} chunks of {chunk:4}  {measure(run, device)}", flush=True)


def update(
    shape: str, positions: int, form: Callable[..., Tensor], settings: DivergenceSettings, device: torch.device
) -> Callable[[], None]:
    """The loss and its gradients, to be called as often as one likes."""
    width, vocabulary = SHAPES[shape].hidden_size, SHAPES[shape].vocab_size
    hidden, head = random(positions, width, device).requires_grad_(), random(vocabulary, width, device).requires_grad_()
    by_teacher, teacher_head = random(positions, width, device), random(vocabulary, width, device)

    def run() -> None:
        def loss(logits: Tensor, chunk: slice) -> Tensor:
            return form(logits, by_teacher[chunk] @ teacher_head.T, settings).sum()

        chunked_loss(hidden, head, loss).backward()
        hidden.grad = head.grad = None

    return run


def measure(run: Callable[[], None], device: torch.device) -> str:
    """Time and memory, in words."""
    if device.type != "cuda":
        run()
        return "no times: not a CUDA device"
    run()
    release_memory()
    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    seconds = median_seconds(run, repeats=9, warm_up=1)
    return f"{seconds * 1e3:6.1f} ms  peak {(torch.cuda.max_memory_allocated() - held) / 1e9:.2f} GB"


if __name__ == "__main__":
    main()

"""Whether memory grows while rollouts and training steps alternate on one set of weights.

    python benchmarks/alternate.py --device cuda

Each alternation answers one to eight prompts with the engine, then takes a training step on the answers: a backward
pass through the engine's own weights, and plain gradient descent. Between the two nothing may be left but weights.
Printed is what PyTorch has allocated and reserved, in bytes, and from the alternation by which every number of prompts
has come up twice to the last one, the growth of both. A CPU counts no memory: there it only runs.
"""

import argparse

import torch
from floors import SHAPES
from models import make_requests, random_model, random_prompts, variant
from timing import device_name
from torch.nn import functional as F
from ways import WAYS

from opdlm.decode.engine import Engine
from opdlm.decode.request import Rollout
from opdlm.model.attention import causal
from opdlm.model.qwen3 import Qwen3

PROMPTS, PROMPT, NEW_TOKENS = 8, 24, 32
SETTLED = 2 * PROMPTS
LINES = 5


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shape", choices=SHAPES, default="tiny")
    parser.add_argument("--alternations", type=int, default=200)
    given = parser.parse_args(arguments)
    device, way = torch.device(given.device), WAYS["static"]
    model = variant(random_model(SHAPES[given.shape], device), way.block).requires_grad_(True)
    engine = Engine(model, stop_ids=[], slots=PROMPTS)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
    prompts = random_prompts(model.shape, PROMPTS, PROMPT)
    print(f"{device_name(device)}, torch {torch.__version__}, {given.shape}, {given.alternations} alternations")
    print(line(0, device), flush=True)
    settled = held(device)
    for number in range(1, given.alternations + 1):
        answers = engine.generate(make_requests(prompts[: 1 + number % PROMPTS], NEW_TOKENS), way.settings)
        loss = learn(model, optimiser, answers)
        settled = held(device) if number == min(SETTLED, given.alternations) else settled
        if number in (1, SETTLED, given.alternations) or number % max(1, given.alternations // LINES) == 0:
            print(f"{line(number, device)}, loss {loss:.3f}", flush=True)
    if device.type == "cuda":
        print(growth(settled, held(device), min(SETTLED, given.alternations), given.alternations))


def learn(model: Qwen3, optimiser: torch.optim.Optimizer, answers: list[Rollout]) -> float:
    """One step towards the answers' own tokens; returns the loss."""
    rows = [answer.prompt + answer.ids for answer in answers]
    lengths = [len(row) for row in rows]
    ids = torch.tensor([token for row in rows for token in row], device=model.device)
    positions = torch.cat([torch.arange(length, device=model.device) for length in lengths])
    logits = model.logits(model(ids, positions, causal(lengths)))
    loss = F.cross_entropy(logits.float(), ids)
    loss.backward()
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return loss.item()


def held(device: torch.device) -> tuple[int, int]:
    """Bytes allocated and reserved."""
    if device.type != "cuda":
        return 0, 0
    return torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)


def line(number: int, device: torch.device) -> str:
    """Memory after an alternation."""
    if device.type != "cuda":
        return f"after {number:4}: no memory counted"
    allocated, reserved = held(device)
    return f"after {number:4}: allocated {allocated:,} bytes, reserved {reserved:,}"


def growth(early: tuple[int, int], late: tuple[int, int], since: int, until: int) -> str:
    """What has been added in between."""
    allocated, reserved = (after - before for before, after in zip(early, late, strict=True))
    return f"growth from {since} to {until}: allocated {allocated:+,} bytes, reserved {reserved:+,}"


if __name__ == "__main__":
    main()

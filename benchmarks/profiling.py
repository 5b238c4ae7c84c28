"""The kernels that fill a run, and the part of its time that they fill."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from models import make_requests, random_prompts, variant
from table import Case
from timing import timed
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity

from opdlm.decode.engine import Engine
from opdlm.decode.request import Rollout
from opdlm.model.qwen3 import Qwen3

LISTED_KERNELS = 25
SHORT, WINDOW = 16, 32
"""Tokens of the answer that ends first, and those that the others still write after it."""
STEP_KERNEL = "_plan"
"""Runs once a step."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """All runs of one kernel, in seconds."""

    name: str
    count: int
    seconds: float


def profiled(run: Callable[[], object]) -> tuple[list[Kernel], float]:
    """The kernels (and copies) that run on the CUDA device, and the wall time in seconds."""
    with torch.profiler.profile(activities=[ProfilerActivity.CUDA]) as profiler:
        wall, _ = timed(run)
    averages = profiler.key_averages()
    # The rest are calls of the host, with the time of the kernels that they started, and marked regions.
    on_device = [event for event in averages if event.device_type == DeviceType.CUDA and not event.is_user_annotation]
    return [Kernel(event.key, event.count, event.self_device_time_total / 1e6) for event in on_device], wall


def kernel_table(kernels: list[Kernel], wall: float) -> str:
    """The kernels that take most time, one a line, and the part of the wall time (seconds) that all of them fill."""
    lines = [f"{'total ms':>9} {'count':>7} {'mean us':>9}  kernel"]
    for kernel in sorted(kernels, key=lambda kernel: -kernel.seconds)[:LISTED_KERNELS]:
        average = kernel.seconds / kernel.count * 1e6
        lines.append(f"{kernel.seconds * 1e3:9.2f} {kernel.count:7} {average:9.2f}  {kernel.name[:120]}")
    busy, count = sum(kernel.seconds for kernel in kernels), sum(kernel.count for kernel in kernels)
    lines.append(f"{count} kernels ran {busy * 1e3:.1f} ms of {wall * 1e3:.1f} ms: GPU busy {busy / wall:.1%}")
    return "\n".join(lines) + "\n"


def profile(model: Qwen3, case: Case, path: Path) -> None:
    """Print, and write to a file, the kernels of some steps in mid-answer and the part of the time that they fill."""
    engine = Engine(variant(model, case.way.block), stop_ids=[], slots=case.sequences)
    with closing(steady(engine, case)) as stream:  # compiles, and is not slowed down by the profiler
        bare, _ = timed(lambda: next(stream))
    with closing(steady(engine, case)) as stream:
        kernels, wall = profiled(lambda: next(stream))
    text = f"{heading(case, kernels, wall, bare)}\n{kernel_table(kernels, wall)}"
    print(text, end="", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def steady(engine: Engine, case: Case) -> Generator[tuple[int, Rollout], None, None]:
    """A run under way: one short answer is out, and what `next` does is the steps until the following one is.

    All are admitted at once, so that nothing is prefilled in between; a single sequence, which has nobody to wait for,
    prefills its second prompt.
    """
    requests = make_requests(random_prompts(engine.model.shape, case.sequences, context(case)), SHORT + WINDOW)
    short = replace(requests[-1], max_tokens=SHORT)
    requests = [*requests[:-1], short] if len(requests) > 1 else [*requests, replace(requests[0], max_tokens=WINDOW)]
    stream = engine.stream(requests, case.way.settings, strategy=case.way.script)
    next(stream)
    return stream


def context(case: Case) -> int:
    """Tokens of the prompts that put the window at the mean context of the case."""
    return max(1, case.prompt_tokens + case.new_tokens // 2 - SHORT - WINDOW // 2)


def heading(case: Case, kernels: list[Kernel], wall: float, bare: float) -> str:
    """What the table of kernels is about; times in seconds."""
    steps = sum(kernel.count for kernel in kernels if kernel.name == STEP_KERNEL)
    each = (
        f"{steps} steps, {wall / steps * 1e3:.3f} ms each, {bare / steps * 1e3:.3f} without the profiler"
        if steps
        else ""
    )
    alone = case.sequences == 1
    who = "one sequence, its prefill included" if alone else f"{case.sequences - 1} of {case.sequences} in mid-answer"
    return f"{case}: {who}, {context(case) + (0 if alone else SHORT)} tokens of context and more, {each}"

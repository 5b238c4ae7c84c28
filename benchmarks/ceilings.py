"""What a device can do at most, measured, and what it does: wall time, and the kernels that fill it.

    python benchmarks/ceilings.py

The two ceilings are the rates of matrix products and of memory traffic. A benchmark measures them in its own run and
compares itself with them: cards of one name differ, and so does one card from day to day. Needs 8 GB free.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

import torch
from floors import Ceilings
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity

SIDE = 8192
"""Rows and columns of the matrices."""
COPIED = 4 * 10**9
"""Bytes of the copy: many times the size of any cache on the device."""
LISTED_KERNELS = 25
T = TypeVar("T")


def measure_ceilings() -> Ceilings:
    """Median rate of 30 bf16 matrix products and of 20 copies from device memory to device memory."""
    ceilings = Ceilings(flops=2 * SIDE**3 / _matmul_seconds(), bandwidth=2 * COPIED / _copy_seconds())
    torch.cuda.empty_cache()
    return ceilings


def describe(ceilings: Ceilings) -> str:
    """Both in one line."""
    return (
        f"ceilings: {ceilings.flops / 1e12:.0f} TFLOP/s (bf16, {SIDE}^3, random data, median of 30), "
        f"{ceilings.bandwidth / 1e12:.2f} TB/s (copy of {COPIED / 1e9:.0f} GB, read and written, median of 20)"
    )


def _matmul_seconds() -> float:
    # Random, because the device draws less power on zeros and then clocks higher than any real run does.
    left, right, out = (torch.randn(SIDE, SIDE, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    return _median_seconds(lambda: torch.mm(left, right, out=out), repeats=30)


def _copy_seconds() -> float:
    source = torch.randn(COPIED // 4, device="cuda", dtype=torch.float32)
    target = torch.empty_like(source)
    return _median_seconds(lambda: target.copy_(source), repeats=20)


def _median_seconds(run: Callable[[], object], repeats: int, warm_up: int = 5) -> float:
    """Median time on the device of one run, in seconds."""
    times: list[float] = []
    for _ in range(warm_up + repeats):
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record()
        run()
        ended.record()
        ended.synchronize()
        times.append(began.elapsed_time(ended) / 1000)
    return median(times[warm_up:])


def timed(run: Callable[[], T]) -> tuple[float, T]:
    """Wall time in seconds, the device's work included, and the result."""
    _synchronize()
    began = time.perf_counter()
    result = run()
    _synchronize()
    return time.perf_counter() - began, result


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


def device_name(device: torch.device) -> str:
    """What the device is called in a table."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    print(describe(measure_ceilings()))

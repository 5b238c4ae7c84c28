"""Time: of the host's clock, of the device's, and of work that is replayed as a CUDA graph. All in seconds."""

import time
from collections.abc import Callable
from statistics import median
from typing import TypeVar

import torch

T = TypeVar("T")


def timed(run: Callable[[], T]) -> tuple[float, T]:
    """Wall time, the device's work included, and the result."""
    _synchronize()
    began = time.perf_counter()
    result = run()
    _synchronize()
    return time.perf_counter() - began, result


def median_seconds(run: Callable[[], object], repeats: int, warm_up: int) -> float:
    """Median time on the CUDA device of one run."""
    times: list[float] = []
    for _ in range(warm_up + repeats):
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record()
        run()
        ended.record()
        ended.synchronize()
        times.append(began.elapsed_time(ended) / 1000)
    return median(times[warm_up:])


def graph_seconds(run: Callable[[], object], replays: int = 9) -> float:
    """Median time of a replay of `run`, captured in a CUDA graph: what the kernels take, without the host's calls."""
    run()  # compiles kernels, and lets libraries set up what they may not in a capture
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return median_seconds(graph.replay, replays, warm_up=2)


def device_name(device: torch.device) -> str:
    """What the device is called in a table."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()

"""What a device can do at most, measured.

    python benchmarks/ceilings.py

The two ceilings are the rates of matrix products and of memory traffic. A benchmark measures them in its own run and
compares itself with them: cards of one name differ, and so does one card from day to day. Needs 8 GB free.
"""

import torch
from floors import Ceilings
from timing import median_seconds

SIDE = 8192
"""Rows and columns of the matrices."""
COPIED = 4 * 10**9
"""Bytes of the copy: many times the size of any cache on the device."""


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
    return median_seconds(lambda: torch.mm(left, right, out=out), repeats=30, warm_up=5)


def _copy_seconds() -> float:
    source = torch.randn(COPIED // 4, device="cuda", dtype=torch.float32)
    target = torch.empty_like(source)
    return median_seconds(lambda: target.copy_(source), repeats=20, warm_up=5)


if __name__ == "__main__":
    print(describe(measure_ceilings()))

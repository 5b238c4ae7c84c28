"""The rows of the decoding benchmark: what was measured, as a line of text and as a line of the CSV."""

import csv
import subprocess
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from statistics import mean, median
from typing import Any

from floors import Ceilings, floor_tokens_per_second, forward_work
from timing import device_name
from ways import Way

from opdlm.model.qwen3 import Qwen3

ROOT = Path(__file__).resolve().parents[1]
CODE = ["opdlm", "benchmarks", ":!benchmarks/results"]
"""What can change a measurement, as git names paths."""


@dataclass(frozen=True, slots=True)
class Case:
    """One configuration to measure: `waves` requests for each of the sequences in flight."""

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


def make_row(
    case: Case, timing: Timing, ceilings: Ceilings | None, reference: float | None, model: Qwen3, code: str
) -> Row:
    """The row of a case; only the CUDA device, which has ceilings, gets absolute numbers.

    Args:
        case, timing: what was measured.
        ceilings: of the device.
        reference: tokens/s of transformers' `generate`.
        model: that decoded.
        code: the commit.
    """
    seconds = median(timing.seconds)
    speed, per_step = timing.tokens / seconds, 1 / timing.forwards_per_token
    context = case.prompt_tokens + case.new_tokens / 2
    work = forward_work(model.shape, case.sequences, case.way.block, context)
    forwards_per_second = mean(timing.steps) * case.waves / seconds
    floor = floor_tokens_per_second(work, ceilings, case.sequences, per_step) if ceilings else None
    return Row(
        date=datetime.now(UTC).date().isoformat(),
        commit=code,
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


def append(path: Path, row: Any) -> None:
    """Add a row, an instance of a dataclass, to the CSV, with the header if the file is new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(row)], lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(asdict(row))


@cache
def commit(root: Path = ROOT) -> str:
    """The commit of the code that is measured, with `-dirty` if the code differs from it, or `no git`.

    A copy of the tree without its repository must not pass for the commit of some repository around it.
    """
    head = _git(root, "rev-parse", "--short", "HEAD") if (root / ".git").exists() else None
    if not head:
        return "no git"
    return head if _git(root, "status", "--porcelain", "--", *CODE) == "" else f"{head}-dirty"


def _git(root: Path, *command: str) -> str | None:
    """What git says, or nothing if it fails or is not there."""
    try:
        found = subprocess.run(["git", *command], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return found.stdout.strip() if found.returncode == 0 else None

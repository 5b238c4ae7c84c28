"""What results took: wall time and GPU hours, summed over the jobs behind them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from opdlm.records import Cost
from opdlm.reporting.results import read_record


class Spent(BaseModel):
    """What some jobs took together, or why that is not known."""

    seconds: float | None
    """Wall time, one job after the other: of jobs side by side it is more than passed on the clock."""
    gpu_hours: float | None
    devices: list[str]
    """Names of what they ran on."""
    missing: str | None
    """The reason if nothing is known."""


@dataclass(frozen=True, slots=True)
class Total:
    """A sum over what is known.

    Attributes:
        unknown: how many of the parts are not known; the sum is then a lower bound.
    """

    seconds: float
    gpu_hours: float
    devices: list[str]
    parts: int
    unknown: int

    @property
    def known(self) -> bool:
        """Whether anything is known."""
        return self.unknown < self.parts


def spent(files: list[str]) -> Spent:
    """The sum over files that hold a `Cost` each; results from before costs were kept have none.

    Raises:
        DataError: a file is malformed.
    """
    lost = [file for file in files if not Path(file).is_file()]
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        return Spent(seconds=None, gpu_hours=None, devices=[], missing=f"{lost[0]}{more} does not exist")
    costs = [read_record(Path(file), Cost) for file in files]
    return Spent(
        seconds=sum(cost.seconds for cost in costs),
        gpu_hours=sum(cost.gpu_hours for cost in costs),
        devices=sorted({cost.device for cost in costs}),
        missing=None,
    )


def total(parts: Iterable[Spent]) -> Total:
    """The sum over those that are known."""
    given = list(parts)
    return Total(
        seconds=sum(part.seconds or 0.0 for part in given),
        gpu_hours=sum(part.gpu_hours or 0.0 for part in given),
        devices=sorted({name for part in given for name in part.devices}),
        parts=len(given),
        unknown=sum(part.seconds is None for part in given),
    )


def combined(totals: Iterable[Total]) -> Total:
    """The sum of sums."""
    given = list(totals)
    return Total(
        seconds=sum(part.seconds for part in given),
        gpu_hours=sum(part.gpu_hours for part in given),
        devices=sorted({name for part in given for name in part.devices}),
        parts=sum(part.parts for part in given),
        unknown=sum(part.unknown for part in given),
    )

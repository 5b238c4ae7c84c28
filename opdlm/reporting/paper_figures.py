"""The points of the paper's figures, to stand beside ours."""

import csv
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from opdlm.errors import DataError


class SweepValue(BaseModel):
    """A point of figures 3 to 5; its fields are the file's columns."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    block_size: int
    threshold: float
    """1 is one token a step."""
    benchmark: str
    accuracy: float
    """Per cent."""
    tokens_per_step: float


class RolloutValue(BaseModel):
    """A point of figure 6; its fields are the file's columns."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    block_size: int
    rollout: int
    tokens_per_step: float


Value = TypeVar("Value", bound=BaseModel)


class PaperSweep:
    """The points of figures 3 to 5.

    Raises:
        DataError: the file is missing or malformed.
    """

    def __init__(self, file: Path) -> None:
        self._values = {
            (value.block_size, value.threshold, value.benchmark): value for value in read_values(file, SweepValue)
        }

    def find(self, block_size: int, threshold: float | None, benchmark: str) -> SweepValue | None:
        """The paper's point, if it has one; none has no threshold."""
        return None if threshold is None else self._values.get((block_size, threshold, benchmark))


class PaperRollouts:
    """The points of figure 6, tokens per denoising step while training.

    Raises:
        DataError: the file is missing or malformed.
    """

    def __init__(self, file: Path) -> None:
        self._values = read_values(file, RolloutValue)

    def find(self, block_size: int) -> dict[int, float]:
        """By rollout; empty if the paper has nothing for such blocks."""
        return {value.rollout: value.tokens_per_step for value in self._values if value.block_size == block_size}


def read_values(file: Path, model: type[Value]) -> list[Value]:
    """All lines of a CSV file whose columns are the fields of `model`.

    Raises:
        DataError: the file is missing or malformed; the message has the line.
    """
    values: list[Value] = []
    try:
        with open(file, encoding="utf-8", newline="") as stream:
            for number, record in enumerate(csv.DictReader(stream), start=2):
                values.append(_value({str(key): text for key, text in record.items()}, model, f"{file}, line {number}"))
    except FileNotFoundError:
        raise DataError(f"{file} does not exist") from None
    return values


def _value(record: dict[str, str], model: type[Value], where: str) -> Value:
    try:
        return model.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{where}: not {','.join(model.model_fields)} ({first['loc'][0]}: {first['msg']})") from None

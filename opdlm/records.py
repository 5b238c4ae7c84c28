"""Records that pass between stages: answers, and what things took. Verdicts are apart: no model depends on them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Base of records: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


class Sample(Record):
    """One answer: token ids with the denoising step that revealed each, and the text a scorer sees."""

    index: int
    seed: int
    prompt_tokens: int
    ids: list[int]
    steps: list[int]
    text: str
    """Without special tokens and without the thinking part."""
    finish: Literal["stop", "length"]


class Cost(Record):
    """What making something took, all starts together."""

    seconds: float
    """Wall time."""
    devices: int
    """GPUs that were used at a time; 0 on a CPU."""
    device: str
    """Name of one of them, or `cpu`."""

    @property
    def gpu_hours(self) -> float:
        """Hours of one GPU."""
        return self.seconds * self.devices / 3600

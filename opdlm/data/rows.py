"""The one schema of prompts and benchmark rows (spec 7.1)."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Row(BaseModel):
    """A question with what its scorer needs; fields that do not apply keep their defaults."""

    model_config = ConfigDict(extra="forbid")

    question: str
    ground_truth_answer: str = ""
    domain: Literal["math", "code", "science", "chat"] | None = None
    subdivision: str | None = None
    options: int = 0
    """Number of options of a multiple-choice question: 4 means A to D."""
    task_id: str | None = None
    entry_point: str | None = None
    """Name of the function that a code task asks for."""
    test_list: list[str] = []
    """Python statements, usually asserts, that judge a code task by calling its functions."""
    test_time_limit: float = 5.0
    """Seconds of wall time for all the tests of a code task."""

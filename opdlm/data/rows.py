"""The one schema of prompts and benchmark rows (spec 7.1)."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Comparison = Literal["tokens", "lines"]
"""How an output is compared: by its words (Codeforces), or line by line as texts or decimals (LiveCodeBench)."""


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
    test_method: Literal["function", "stdio", "call"] = "function"
    """How a code task is judged: by `test_list`; or by `test_output` for each `test_input`, which is standard input, or
    the arguments of `entry_point`, one JSON value a line, with a JSON result (LiveCodeBench's two kinds)."""
    test_input: list[str] = []
    test_output: list[str] = []
    comparison: Comparison = "tokens"
    """How standard output is compared."""
    plus_test_list: list[str] = []
    """Further tests, of HumanEval+ and MBPP+."""
    test_time_limit: float = 5.0
    """Seconds of wall time for all the tests of a code task, with `stdio` and `call` for each of them."""
    key: int | None = None
    instruction_id_list: list[str] = []
    """IFEval's and LiveBench's instructions, with the arguments of each."""
    kwargs: list[dict[str, Any]] = []
    livebench_category: str | None = None
    livebench_task: str | None = None
    livebench_release_date: str | None = None
    livebench: dict[str, Any] = {}
    """What else LiveBench's own scorer of the task reads of its row."""

"""Settings of the data: where prompts and benchmark rows come from and how they are worded."""

from typing import Literal

from pydantic import Field, model_validator

from opdlm.config.base import Strict
from opdlm.config.tasks import TinyTask

PromptKind = Literal["raw", "math", "choice", "humaneval", "livecodebench", "livemathbench", "stdio", "domain"]
FileLayout = Literal[
    "rows",
    "gsm8k",
    "math500",
    "aime",
    "livemathbench",
    "mmlu",
    "mmlu_pro",
    "ceval",
    "gpqa",
    "ifeval",
    "livebench",
    "zebralogic",
    "humaneval",
    "humaneval_plus",
    "mbpp",
    "mbpp_plus",
    "codeforces",
    "livecodebench",
]


class Source(Strict):
    """Where rows come from: generated (`tiny`), or a file in one of the known layouts.

    The file lies under `data_root`, or in the data set `repo` of the Hugging Face hub.
    """

    layout: Literal["tiny"] | FileLayout
    task: list[TinyTask] = []
    file: str | None = None
    repo: str | None = Field(default=None, pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str | None = Field(
        default=None, pattern=r"^[\w.-]+$", description="branch, tag or commit of `repo`; main if null"
    )
    expected_rows: int | None = Field(
        default=None, gt=0, description="rows that the whole file gives; any other number is an error"
    )

    @model_validator(mode="after")
    def _complete(self) -> "Source":
        if self.layout == "tiny" and not self.task:
            raise ValueError("layout 'tiny' needs 'task'")
        if self.layout != "tiny" and not self.file:
            raise ValueError(f"layout '{self.layout}' needs 'file' (a path under data_root, or in 'repo')")
        if self.repo is not None and self.layout == "tiny":
            raise ValueError("layout 'tiny' has no 'repo'")
        if self.expected_rows is not None and self.layout == "tiny":
            raise ValueError("layout 'tiny' makes as many rows as are asked for; 'expected_rows' is for files")
        if self.revision is not None and self.repo is None:
            raise ValueError("'revision' belongs to 'repo', which is not set")
        return self


class PromptSettings(Strict):
    """A set of training prompts."""

    source: Source
    prompt: PromptKind = "raw"
    rows: int | None = Field(default=None, gt=0, description="rows to generate (tiny) or to keep (files); all if null")
    seed: int = 10086
    max_prompt_tokens: int = Field(default=2000, gt=0)


class RowsStage(Strict):
    """What the rows of one benchmark depend on."""

    source: Source
    rows: int | None = Field(default=None, gt=0)

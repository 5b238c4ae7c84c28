"""Settings of the benchmarks."""

from typing import Literal

from pydantic import Field

from opdlm.config.base import Strict
from opdlm.config.data import PromptKind, Source

ScorerKind = Literal["math", "choice", "code", "ifeval", "livebench", "zebra"]


class BenchmarkSettings(Strict):
    """A benchmark: its rows, the wording of its prompt, its scorer and its budget."""

    source: Source
    scorer: ScorerKind
    prompt: PromptKind = "raw"
    rows: int | None = Field(default=None, gt=0)
    max_tokens: int = Field(gt=0)
    seeds: int = Field(default=1, gt=0, description="number of sampling seeds; scores are means over them")
    shards: int | None = Field(default=None, gt=0, description="jobs a seed; null: by tokens, see `shard_tokens`")
    answer_tokens: int | None = Field(
        default=None, gt=0, description="mean length that answers are expected to have; for the size of shards only"
    )
    thinking: bool = False
    temperature: float | None = Field(
        default=None, ge=0, description="in the place of the decoding's, so that seeds differ; null: the decoding's own"
    )
    paper_column: str | None = Field(default=None, description="the paper's name, if the benchmark's own is another")

    def shard_count(self, shard_tokens: int | None) -> int:
        """Jobs that answer it for one seed: `shards`, or what its rows and the expected length of answers come to.

        Args:
            shard_tokens: tokens that a job is to write, about; null: one job whatever there is to write.
        """
        if self.shards is not None:
            return self.shards
        rows = self.rows or self.source.expected_rows
        if shard_tokens is None or rows is None or self.answer_tokens is None:
            return 1
        return min(rows, -(-rows * self.answer_tokens // shard_tokens))


class ScoreStage(Strict):
    """What the verdicts of one shard depend on."""

    scorer: ScorerKind

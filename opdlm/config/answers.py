"""Settings of the writing of answers: apart from those of benchmarks, so that a new scorer or wording rewrites none."""

from pydantic import Field

from opdlm.config.base import Strict
from opdlm.config.decoding import DecodingSettings
from opdlm.config.wording import Wording


class GenerateStage(Strict):
    """What the answers of one shard depend on."""

    prompt: Wording
    max_tokens: int = Field(gt=0)
    thinking: bool
    decoding: DecodingSettings
    seed: int
    shard: int = Field(ge=0)
    shards: int = Field(gt=0)

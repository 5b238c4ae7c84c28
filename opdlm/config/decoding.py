"""Settings of decoding."""

from typing import Literal

from pydantic import Field

from opdlm.config.base import Strict

Strategy = Literal["static", "dynamic", "sequential", "autoregressive"]


class DecodingSettings(Strict):
    """How answers are written. Temperature 0 is greedy."""

    strategy: Strategy
    tokens_per_step: int = Field(default=1, gt=0, description="static, sequential: tokens revealed a denoising step")
    threshold: float = Field(default=0.9, ge=0, le=1, description="dynamic: reveal every token more certain than this")
    temperature: float = Field(default=0.0, ge=0)
    top_k: int = Field(default=0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)

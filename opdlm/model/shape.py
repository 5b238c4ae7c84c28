"""The shape of a Qwen3 model, read from and written to a Hugging Face `config.json`."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from opdlm.errors import CheckpointError

A2D_MODEL_TYPE = "a2d-qwen3"
DIFFUSION_TYPES = (A2D_MODEL_TYPE, "sdar")
MODEL_TYPES = ("qwen3", *DIFFUSION_TYPES)
DEFAULT_BLOCK_SIZE = 4
"""Block size of the published models, whose `config.json` need not say it."""
DEFAULT_ROPE_THETA = 1e6
QWEN3_VOCABULARY, QWEN3_MASK_ID = 151936, 151669
"""Rows of every Qwen3 embedding, and the first of them that no token of its tokenizer uses."""


class Shape(BaseModel):
    """What the forward pass needs to know; the names are those of `config.json`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    model_type: str = "qwen3"
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    rms_norm_eps: float = 1e-6
    rope_theta: float = DEFAULT_ROPE_THETA
    tie_word_embeddings: bool = False
    block_size: int | None = Field(default=None, description="tokens a block; none for an autoregressive model")
    mask_token_id: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _older_and_newer_layouts(cls, raw: Any) -> Any:
        """Transformers 5 keeps the rotary base in `rope_parameters`, older ones in `rope_theta`."""
        nested = (raw.get("rope_parameters") or {}).get("rope_theta")
        raw = {**raw, "rope_theta": nested} if nested is not None else raw
        if raw.get("model_type") in DIFFUSION_TYPES and raw.get("block_size") is None:
            raw = {**raw, "block_size": DEFAULT_BLOCK_SIZE}
        return raw

    @property
    def is_diffusion(self) -> bool:
        """Whether this is a block-diffusion model."""
        return self.block_size is not None


def read_shape(raw: dict[str, Any], where: str) -> Shape:
    """The shape in a `config.json`.

    Raises:
        CheckpointError: not a Qwen3 model, a missing field, or a rotary scaling that is not supported.
    """
    if raw.get("model_type") not in MODEL_TYPES:
        raise CheckpointError(f"{where}: model_type is {raw.get('model_type')!r}; known are {', '.join(MODEL_TYPES)}")
    scaling = raw.get("rope_scaling") or raw.get("rope_parameters") or {}
    if scaling.get("rope_type", scaling.get("type", "default")) != "default":
        raise CheckpointError(f"{where}: rope scaling {scaling} is not supported; only the default is")
    try:
        return Shape.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        raise CheckpointError(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None

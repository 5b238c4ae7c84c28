"""Settings of the models: teachers, and their conversion."""

from typing import Literal

from pydantic import Field, model_validator

from opdlm.config.base import Strict
from opdlm.config.tasks import TinyTask


class TinyArchitecture(Strict):
    """Shape of a Qwen3 model that is trained from scratch."""

    vocab_size: int = Field(default=512, ge=300)
    hidden_size: int = 128
    intermediate_size: int = 384
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 32
    max_position_embeddings: int = 4096


class PretrainSettings(Strict):
    """Training of a tiny autoregressive teacher from scratch, on freshly generated questions with answers."""

    architecture: TinyArchitecture = TinyArchitecture()
    tasks: list[TinyTask]
    steps: int = Field(gt=0)
    batch_size: int = Field(default=128, gt=0)
    lr: float = Field(default=2e-3, gt=0)
    warmup_steps: int = Field(default=20, ge=0)
    seed: int = 10086


class TeacherSettings(Strict):
    """The autoregressive model to start from and to learn from: a hub id or folder, or one pretrained here."""

    source: str | None = None
    revision: str | None = None
    pretrain: PretrainSettings | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> "TeacherSettings":
        if (self.source is None) == (self.pretrain is None):
            raise ValueError("give exactly one of 'source' (hub id or folder) and 'pretrain'")
        return self


class ConvertSettings(Strict):
    """Conversion of an autoregressive checkpoint into a block-diffusion initialisation."""

    block_size: int = Field(default=4, gt=0)
    mask_init: Literal["keep", "mean"] = Field(
        default="keep",
        description="embedding of the mask token: as in the checkpoint, or the mean row",
    )

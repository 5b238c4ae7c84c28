"""The block-diffusion model as transformers knows it: after `import opdlm`, `AutoModelForCausalLM` loads it.

The class is the one that exported folders bring along: transformers' own Qwen3 with one change, the block-causal mask.
Logits are unshifted: row i predicts the token at i. Padding may be on either side; blocks are counted from the first
token that is not padding.
"""

from typing import Any

from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, Qwen3Config

from opdlm.model.modeling_sdar import SDARForCausalLM
from opdlm.model.shape import A2D_MODEL_TYPE, DEFAULT_BLOCK_SIZE


class A2DQwen3Config(Qwen3Config):
    """Qwen3's configuration with the block size and the mask token's id."""

    model_type = A2D_MODEL_TYPE

    def __init__(self, block_size: int = DEFAULT_BLOCK_SIZE, mask_token_id: int | None = None, **others: Any) -> None:
        self.block_size = block_size
        self.mask_token_id = mask_token_id
        super().__init__(**others)


class A2DQwen3ForCausalLM(SDARForCausalLM):
    """Qwen3 with attention opened inside blocks."""

    config_class = A2DQwen3Config


AutoConfig.register(A2D_MODEL_TYPE, A2DQwen3Config)
AutoModelForCausalLM.register(A2DQwen3Config, A2DQwen3ForCausalLM)
AutoModelForMaskedLM.register(A2DQwen3Config, A2DQwen3ForCausalLM)

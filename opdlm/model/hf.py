"""The block-diffusion model as transformers knows it: after `import opdlm`, `AutoModelForCausalLM` loads it.

The class is transformers' own Qwen3 with one change: without a 4-D mask it builds the block-causal one. Logits
are unshifted: row i predicts the token at i. Padding may be on either side; blocks are counted from the first token
that is not padding.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, Qwen3Config, Qwen3ForCausalLM

from opdlm.blocks import clean_mask
from opdlm.model.shape import A2D_MODEL_TYPE, DEFAULT_BLOCK_SIZE


class A2DQwen3Config(Qwen3Config):
    """Qwen3's configuration with the block size and the mask token's id."""

    model_type = A2D_MODEL_TYPE

    def __init__(self, block_size: int = DEFAULT_BLOCK_SIZE, mask_token_id: int | None = None, **others: Any) -> None:
        self.block_size = block_size
        self.mask_token_id = mask_token_id
        super().__init__(**others)


class A2DQwen3ForCausalLM(Qwen3ForCausalLM):
    """Qwen3 with attention opened inside blocks."""

    config_class = A2DQwen3Config

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        **others: Any,
    ) -> Any:
        """As `Qwen3ForCausalLM`; a mask `[batch, length]` or none becomes the additive block-causal mask.

        Args:
            input_ids: `[batch, length]`.
            attention_mask: none, `[batch, length]` with zeros at padding, or `[batch, 1, length, keys]`, used as it is.
            position_ids: `[batch, length]`; counted from the first token that is not padding if not given.
            others: of `Qwen3ForCausalLM`.
        """
        if attention_mask is None or attention_mask.dim() == 2:
            rows = input_ids if input_ids is not None else others["inputs_embeds"][..., 0]
            keep = torch.ones_like(rows, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
            if position_ids is None:
                position_ids = (keep.cumsum(-1) - 1).clamp(min=0)
            attention_mask = self.block_mask(position_ids, keep)
        return super().forward(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, **others)

    def block_mask(self, positions: Tensor, keep: Tensor) -> Tensor:
        """The additive block-causal mask `[batch, 1, length, length]`, padded keys removed.

        Padding sees itself, so that no row of the softmax is empty.
        """
        own = torch.eye(keep.shape[1], dtype=torch.bool, device=keep.device)
        allowed = (clean_mask(positions, positions, self.config.block_size) & keep[:, None, :] | own)[:, None]
        return torch.zeros(allowed.shape, dtype=self.dtype, device=keep.device).masked_fill(
            ~allowed, torch.finfo(self.dtype).min
        )


AutoConfig.register(A2D_MODEL_TYPE, A2DQwen3Config)
AutoModelForCausalLM.register(A2DQwen3Config, A2DQwen3ForCausalLM)
AutoModelForMaskedLM.register(A2DQwen3Config, A2DQwen3ForCausalLM)

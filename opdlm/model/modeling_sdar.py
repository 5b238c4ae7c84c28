"""The exported model as transformers knows it: `trust_remote_code=True` loads this file from the exported folder.

`opdlm.model.export` copies it there, so it imports nothing of ours, and it runs with transformers 4.51 and later:
SGLang and LMDeploy have models of their own, but take the configuration from here. Not in it is the cache of the
published `modeling_sdar.py`: every call reads its whole input.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM


class SDARConfig(Qwen3Config):
    """Qwen3's configuration with the block size and the mask token's id."""

    model_type = "sdar"

    def __init__(
        self, block_size: int = 4, mask_token_id: int = 151669, rope_theta: float = 1e6, **others: Any
    ) -> None:
        self.block_size = block_size
        self.mask_token_id = mask_token_id
        super().__init__(rope_theta=rope_theta, **others)
        # Transformers 5 moves it to `rope_parameters`; SGLang looks here, and takes 10,000 if there is nothing.
        self.rope_theta = rope_theta


class SDARForCausalLM(Qwen3ForCausalLM):
    """Qwen3 with attention opened inside blocks. Logits are unshifted: row i predicts the token at i."""

    config_class: type[Qwen3Config] = SDARConfig

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
        """The additive mask `[batch, 1, length, length]`: a token sees its own block and those before, no padding.

        Padding sees itself, so that no row of the softmax is empty.
        """
        blocks = positions // self.config.block_size
        own = torch.eye(keep.shape[1], dtype=torch.bool, device=keep.device)
        allowed = ((blocks[:, None, :] <= blocks[:, :, None]) & keep[:, None, :] | own)[:, None]
        closed = torch.finfo(self.dtype).min
        return torch.zeros(allowed.shape, dtype=self.dtype, device=keep.device).masked_fill(~allowed, closed)

"""The published layout of a training step, written anew from its description (spec 4, 5.6) as the arm to compare with.

A row is `[prompt | clean answer | noised answer]`, the prompt padded on the left and both answers on the right to one
length, forwarded alone through transformers' model under a dense mask, every layer recomputed in the backward pass.
The teacher forwards the whole doubled row too. Logits exist for all positions of both, and log-probabilities in fp32
for prompt and noised answer. Blocks are counted from the answer's start.
"""

import numpy as np
import torch
from models import transformers_model
from torch import Tensor

from opdlm.blocks import training_mask
from opdlm.config.training import DivergenceSettings
from opdlm.decode.request import Rollout
from opdlm.distill.divergence import divergence
from opdlm.model.qwen3 import Qwen3

PADDED_PROMPT = 256


class Published:
    """Forward and backward of one row at a time; gradients add up in the student.

    Args:
        student, teacher: random weights.
        mask_token: the token of masked positions, and here also of padding.
        block_size: of the diffusion blocks.
        top_k: of the teacher; 0 = full vocabulary.
    """

    def __init__(self, student: Qwen3, teacher: Qwen3, mask_token: int, block_size: int, top_k: int) -> None:
        self.student, self.teacher = transformers_model(student).train(), transformers_model(teacher)
        self.student.gradient_checkpointing_enable()
        self.student.config.use_cache = False
        self.mask_token, self.block_size, self.settings = mask_token, block_size, DivergenceSettings(top_k=top_k)

    def row(self, answer: Rollout, longest: int, rng: np.random.Generator) -> None:
        """One micro-batch."""
        device, missing = self.student.device, longest - len(answer.ids)
        start = PADDED_PROMPT
        pad = torch.full((start - len(answer.prompt),), self.mask_token)
        clean = torch.tensor([*answer.ids, *[self.mask_token] * missing])
        steps = torch.tensor(answer.steps).view(-1, self.block_size)
        drawn = steps.min(dim=1, keepdim=True).values + torch.from_numpy(
            rng.integers(self.block_size, size=(len(steps), 1))
        )
        masked = torch.cat([(steps >= drawn).view(-1), torch.ones(missing, dtype=torch.bool)])
        noised = clean.masked_fill(masked, self.mask_token)
        ids = torch.cat([pad, torch.tensor(answer.prompt), clean, noised]).to(device)[None]
        positions = torch.cat([torch.arange(start + longest), torch.arange(start, start + longest)])
        mask = self._mask(positions, start + longest).to(device)
        position_ids = positions.to(device)[None]

        logits = self.student(input_ids=ids, position_ids=position_ids, attention_mask=mask[None, None]).logits[0]
        with torch.no_grad():
            order = torch.arange(len(positions), device=device)
            lower = mask & (order[:, None] >= order[None, :])
            additive = torch.zeros(lower.shape, device=device, dtype=logits.dtype).masked_fill(~lower, -torch.inf)
            filled = torch.cat([ids[:, : start + longest], ids[:, start : start + longest]], dim=1)
            targets = self.teacher(
                input_ids=filled, position_ids=position_ids, attention_mask=additive[None, None]
            ).logits[0]
            targets = torch.cat([targets[:start], targets[start + longest :]]).roll(1, dims=0)
        kept = torch.cat([logits[:start], logits[start + longest :]])
        distance = divergence(kept, targets, self.settings)[start:]
        counted = masked.to(device) & (torch.arange(longest, device=device) < len(answer.ids))
        (distance * counted).sum().div(counted.sum()).backward()

    def _mask(self, positions: Tensor, clean: int) -> Tensor:
        """Who sees whom, `[tokens, tokens]`."""
        return training_mask(positions, torch.arange(len(positions)) >= clean, self.block_size)

"""The models of the benchmarks, one set of random weights whatever reads it, and their prompts."""

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from opdlm.decode.request import Request
from opdlm.model.qwen3 import Qwen3
from opdlm.model.shape import QWEN3_MASK_ID, QWEN3_VOCABULARY, Shape

HIGHEST_ID = 150_000
"""Prompts are drawn below it, where every id is an ordinary token of Qwen3."""


def random_model(shape: Shape, device: torch.device) -> Qwen3:
    """An autoregressive model, its weights drawn once and where they stay; bf16, on a CPU fp32."""
    with torch.device("meta"):
        model = Qwen3(shape).to(torch.bfloat16 if device.type == "cuda" else torch.float32)
    model.to_empty(device=device).requires_grad_(False).eval()
    if shape.tie_word_embeddings:
        model.lm_head.weight = model.model.embed_tokens.weight  # `to_empty` unties them
    generator = torch.Generator(device).manual_seed(0)
    for weight in model.parameters():
        weight.fill_(1) if weight.dim() == 1 else weight.normal_(std=0.02, generator=generator)
    return model


def variant(model: Qwen3, block: int) -> Qwen3:
    """The model for blocks of so many tokens, 1 for an autoregressive one, with the same parameters."""
    blocks = {"block_size": block, "mask_token_id": mask_token(model.shape)} if block > 1 else {}
    with torch.device("meta"):
        other = Qwen3(model.shape.model_copy(update=blocks))
    # The Parameters themselves, not their data: the engine may move the data into fused matrices.
    other.load_state_dict(model.state_dict(keep_vars=True), assign=True)
    return other.eval()


def transformers_model(model: Qwen3) -> Qwen3ForCausalLM:
    """transformers' model with the same parameters."""
    shape = model.shape.model_dump(exclude={"model_type", "rope_theta", "block_size", "mask_token_id"})
    rope = {"rope_type": "default", "rope_theta": model.shape.rope_theta}
    config = Qwen3Config(**shape, rope_parameters=rope, dtype=model.lm_head.weight.dtype)
    with torch.device("meta"):
        other = Qwen3ForCausalLM(config)
    other.load_state_dict(model.state_dict(keep_vars=True), assign=True)
    with torch.device(model.device):  # its frequencies are no parameters, so they are still without values
        other.model.rotary_emb = type(other.model.rotary_emb)(config)
    return other.eval()


def mask_token(shape: Shape) -> int:
    """The mask token of a model of this shape."""
    return QWEN3_MASK_ID if shape.vocab_size == QWEN3_VOCABULARY else shape.vocab_size - 1


def random_prompts(shape: Shape, sequences: int, tokens: int) -> list[list[int]]:
    """Prompts of one length, the same in every call."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(min(HIGHEST_ID, mask_token(shape)), (sequences, tokens), generator=generator).tolist()


def make_requests(prompts: list[list[int]], new_tokens: int) -> list[Request]:
    """A request for each prompt, with seeds of their own."""
    return [Request(prompt, new_tokens, seed) for seed, prompt in enumerate(prompts)]

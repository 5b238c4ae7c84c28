"""The Qwen3 transformer over flat tokens, with attention passed in.

There is no batch dimension and no padding: a forward takes the tokens of all sequences in one row, their positions, and
an `attend` function that knows which token may see which. The trainer passes packed attention, the decoder one that
reads and writes its cache, the teacher a causal one; the layers are the same. Parameter names are Hugging Face's, so
that checkpoints load unchanged. Architecture: Qwen3 technical report (arXiv 2505.09388), as in transformers.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from opdlm.model.shape import Shape

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""`attend(layer, query [tokens, heads, dim], key [tokens, kv_heads, dim], value) -> [tokens, heads, dim]`."""


class RMSNorm(nn.Module):
    """Root-mean-square normalisation, computed in fp32 as Qwen3 does."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * F.rms_norm(x.float(), x.shape[-1:], eps=self.eps).to(x.dtype)


class Rotary(nn.Module):
    """Rotary positions of `[tokens, heads, head_dim]`; without weights."""

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        return rotate(x, rotary)


class Gate(nn.Module):
    """The product in SwiGLU, `silu(gate) * up`; without weights."""

    def forward(self, gate: Tensor, up: Tensor) -> Tensor:
        return F.silu(gate) * up


class Attention(nn.Module):
    """Grouped-query attention with per-head query and key norms and rotary positions."""

    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.layer, self.head_dim = layer, shape.head_dim
        self.q_proj = nn.Linear(shape.hidden_size, shape.num_attention_heads * shape.head_dim, bias=False)
        self.k_proj = nn.Linear(shape.hidden_size, shape.num_key_value_heads * shape.head_dim, bias=False)
        self.v_proj = nn.Linear(shape.hidden_size, shape.num_key_value_heads * shape.head_dim, bias=False)
        self.o_proj = nn.Linear(shape.num_attention_heads * shape.head_dim, shape.hidden_size, bias=False)
        self.q_norm = RMSNorm(shape.head_dim, shape.rms_norm_eps)
        self.k_norm = RMSNorm(shape.head_dim, shape.rms_norm_eps)
        self.rotary = Rotary()

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        query = self.q_proj(x).unflatten(-1, (-1, self.head_dim))
        key = self.k_proj(x).unflatten(-1, (-1, self.head_dim))
        value = self.v_proj(x).unflatten(-1, (-1, self.head_dim))
        query, key = self.rotary(self.q_norm(query), rotary), self.rotary(self.k_norm(key), rotary)
        return self.o_proj(attend(self.layer, query, key, value).flatten(-2))


class MLP(nn.Module):
    """SwiGLU feed-forward layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.up_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.down_proj = nn.Linear(shape.intermediate_size, shape.hidden_size, bias=False)
        self.gate = Gate()

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.gate(self.gate_proj(x), self.up_proj(x)))


class Layer(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.self_attn = Attention(shape, layer)
        self.mlp = MLP(shape)
        self.input_layernorm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), rotary, attend)
        return x + self.mlp(self.post_attention_layernorm(x))


class Body(nn.Module):
    """Embedding, layers and final norm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(Layer(shape, index) for index in range(shape.num_hidden_layers))
        self.norm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)


class Qwen3(nn.Module):
    """A Qwen3 language model; block-diffusion or autoregressive is a matter of `attend` alone.

    Attributes:
        recomputed: in training, the first so many layers keep nothing but their input and are computed again in the
            backward pass: less memory, a third more arithmetic for each of them.
    """

    recomputed: int = 0

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.model = Body(shape)
        self.lm_head = nn.Linear(shape.hidden_size, shape.vocab_size, bias=False)
        if shape.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.lm_head.weight.device

    def forward(self, ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Hidden states after the final norm.

        Args:
            ids: token ids `[tokens]`.
            positions: position ids `[tokens]`, each token's place in its own sequence.
            attend: who sees whom.

        Returns:
            `[tokens, hidden]`; apply `logits` to the rows that need it.
        """
        x = self.model.embed_tokens(ids)
        rotary = rotary_table(positions, self.shape, x.dtype)
        for index, layer in enumerate(self.model.layers):
            if index < self.recomputed and torch.is_grad_enabled():
                x = checkpoint(layer, x, rotary, attend, use_reentrant=False)
            else:
                x = layer(x, rotary, attend)
        return self.model.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores `[tokens, vocabulary]` of hidden states `[tokens, hidden]`."""
        return self.lm_head(hidden)

    def compile_parts(self) -> None:
        """Make one kernel of each norm, rotation and gate, forward and backward; worth its minute on a CUDA device."""
        for part in self.modules():
            if isinstance(part, RMSNorm | Rotary | Gate):
                part.compile(dynamic=True)

    def inference(self) -> Callable[[Tensor, Tensor, Attend], Tensor]:
        """`forward` without gradients, in the way that is fastest on the model's device."""
        if self.device.type != "cuda":
            return torch.no_grad()(self.forward)
        from opdlm.model.fused import FusedForward

        return torch.no_grad()(FusedForward(self).__call__)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Fresh weights: normal with the usual deviation of 0.02, norms at one."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                module.weight.normal_(std=0.02, generator=generator)


def rotary_table(positions: Tensor, shape: Shape, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines `[tokens, 1, head_dim]` of rotary positions, computed in fp32."""
    half = torch.arange(0, shape.head_dim, 2, dtype=torch.int64, device=positions.device).float() / shape.head_dim
    angles = positions.float()[:, None] / shape.rope_theta**half
    angles = torch.cat([angles, angles], dim=-1)[:, None, :]
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Apply rotary positions to `[tokens, heads, head_dim]`."""
    cos, sin = rotary
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin

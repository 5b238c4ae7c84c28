"""The decoding forward pass on a CUDA device: the same network with fewer, larger operations.

Query, key and value projections become one matrix product, gate and up another; norms, rotary positions and the gate
are one Triton kernel each, the rotation part of the attention's where that can do it. The weights are the module's own:
its parameters become views of the fused matrices, so an optimiser that writes into them is seen here.
"""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from opdlm.blocks import covered
from opdlm.model import kernels
from opdlm.model.qwen3 import Attend, Layer, Qwen3, rotary_table


@runtime_checkable
class RawAttend(Protocol):
    """Attention that normalises and rotates queries and keys itself."""

    def raw(self, layer: int, qkv: Tensor, rotation: kernels.Rotation) -> Tensor:
        """Attention of `qkv [tokens, (heads + 2 kv_heads) * dim]`; returns `[tokens, heads, dim]`."""
        ...


class FusedForward:
    """`Qwen3.forward` without gradients, with the same arguments and result."""

    def __init__(self, model: Qwen3) -> None:
        self.model, self.shape = model, model.shape
        self.layers = [_FusedLayer(layer) for layer in model.model.layers]  # type: ignore[arg-type]
        # The last block may reach beyond the last position.
        reach = covered(self.shape.max_position_embeddings, self.shape.block_size or 1)
        positions = torch.arange(reach, device=model.device)
        half = self.shape.head_dim // 2
        cos, sin = rotary_table(positions, self.shape, model.lm_head.weight.dtype)
        self.rotary = cos[:, 0, :half].contiguous(), sin[:, 0, :half].contiguous()

    def __call__(self, ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Hidden states after the final norm, `[tokens, hidden]`, of tokens `[tokens]` at positions `[tokens]`."""
        stream = F.embedding(ids, self.model.model.embed_tokens.weight)
        for index, layer in enumerate(self.layers):
            self._layer(index, layer, stream, positions, attend)
        return kernels.norm(stream, self.model.model.norm.weight, self.shape.rms_norm_eps)

    def _layer(self, index: int, layer: "_FusedLayer", stream: Tensor, positions: Tensor, attend: Attend) -> None:
        """One layer; adds to the residual stream in place, as part of the two products that end in it."""
        shape, eps = self.shape, self.shape.rms_norm_eps
        heads, kv_heads = shape.num_attention_heads, shape.num_key_value_heads
        qkv = F.linear(kernels.norm(stream, layer.input_norm, eps), layer.qkv)
        rotation = kernels.Rotation(layer.query_norm, layer.key_norm, *self.rotary, positions, eps)
        if isinstance(attend, RawAttend):
            mixed = attend.raw(index, qkv, rotation)
        else:
            kernels.norm_rotate(qkv, heads, kv_heads, rotation)
            query, key, value = qkv.unflatten(-1, (-1, shape.head_dim)).split([heads, kv_heads, kv_heads], dim=1)
            mixed = attend(index, query, key, value)
        stream.addmm_(mixed.flatten(-2), layer.out.T)
        both = F.linear(kernels.norm(stream, layer.mlp_norm, eps), layer.gate_up)
        stream.addmm_(kernels.silu_product(both), layer.down.T)


class _FusedLayer:
    """The weights of one layer."""

    def __init__(self, layer: Layer) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.qkv = side_by_side([attention.q_proj, attention.k_proj, attention.v_proj])
        self.gate_up = side_by_side([mlp.gate_proj, mlp.up_proj])
        self.out, self.down = attention.o_proj.weight.data, mlp.down_proj.weight.data
        self.query_norm, self.key_norm = attention.q_norm.weight.data, attention.k_norm.weight.data
        self.input_norm = layer.input_layernorm.weight.data
        self.mlp_norm = layer.post_attention_layernorm.weight.data


@torch.inference_mode(False)
@torch.no_grad()
def side_by_side(linears: list[nn.Linear]) -> Tensor:
    """One matrix `[sum of outputs, inputs]` of which the layers' weights are views.

    The weights are moved the first time; later calls find them in place. Moved weights must still be trainable, hence
    no inference mode.
    """
    weights = [linear.weight.data for linear in linears]
    rows, columns = sum(len(weight) for weight in weights), weights[0].shape[1]
    if not _adjacent(weights):
        fused = torch.cat(weights)
        for linear, part in zip(linears, fused.split([len(weight) for weight in weights]), strict=True):
            linear.weight.data = part
        return fused
    return weights[0].as_strided((rows, columns), (columns, 1))


def _adjacent(weights: list[Tensor]) -> bool:
    """Whether the weights lie one behind the other in one piece of memory."""
    storages = {weight.untyped_storage().data_ptr() for weight in weights}
    ends = [weight.data_ptr() + weight.nbytes for weight in weights]
    in_order = all(weight.data_ptr() == end for weight, end in zip(weights[1:], ends, strict=False))
    return len(storages) == 1 and in_order and all(weight.is_contiguous() for weight in weights)

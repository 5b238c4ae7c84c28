"""The loss at one position, and its sum over many without ever holding `[positions, vocabulary]`.

Spec 4.5. All sums are in fp32 over log-probabilities normalised over the full vocabulary; with `top_k` they run over
the teacher's k most likely tokens only, not renormalised.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from opdlm.config.training import DivergenceSettings

CHUNK = 512
"""Positions whose logits exist at the same time."""


def divergence(student: Tensor, teacher: Tensor, settings: DivergenceSettings) -> Tensor:
    """Distance of the student's distribution from the teacher's at each position.

    Args:
        student: logits `[positions, vocabulary]`.
        teacher: logits `[positions, vocabulary]`.
        settings: forward and reverse Kullback-Leibler or a mixture of both, or Jensen-Shannon; top-k.

    Returns:
        `[positions]` in nats, fp32; the top-k sum may be negative.
    """
    log_q, log_p = F.log_softmax(student.float(), dim=-1), F.log_softmax(teacher.float(), dim=-1)
    if settings.top_k:
        kept = log_p.topk(min(settings.top_k, log_p.shape[-1]), dim=-1).indices
        log_q, log_p = log_q.gather(-1, kept), log_p.gather(-1, kept)
    if settings.kind == "jsd":
        alpha = log_p.new_tensor(settings.alpha)
        log_m = torch.logaddexp(log_p + alpha.log(), log_q + (1 - alpha).log())
        return alpha * _relative(log_p, log_m) + (1 - alpha) * _relative(log_q, log_m)
    weight = settings.reverse_weight
    forward = _relative(log_p, log_q) if weight < 1 else log_q.new_zeros(len(log_q))
    reverse = _relative(log_q, log_p) if weight > 0 else log_q.new_zeros(len(log_q))
    return (1 - weight) * forward + weight * reverse


def divergence_in_chunk(student: Tensor, teacher: Tensor, settings: DivergenceSettings) -> Tensor:
    """`divergence`, compiled for the chunks of full size on a CUDA device: a third of a chunk's time less."""
    if student.is_cuda and len(student) == CHUNK:
        return _compiled_divergence()(student, teacher, settings)
    return divergence(student, teacher, settings)


@cache
def _compiled_divergence() -> Callable[[Tensor, Tensor, DivergenceSettings], Tensor]:
    return torch.compile(divergence, dynamic=False)


def _relative(log_a: Tensor, log_b: Tensor) -> Tensor:
    """Sum of a (log a - log b); a term with a = 0 is 0."""
    a = log_a.exp()
    return torch.where(a > 0, a * (log_a - log_b), 0.0).sum(dim=-1)


def negative_log_likelihood(student: Tensor, tokens: Tensor) -> Tensor:
    """`-log q(token)` at each position, in nats, fp32: the loss of `sft`, and of one-hot targets."""
    return F.cross_entropy(student.float(), tokens, reduction="none")


ChunkLoss = Callable[[Tensor, slice], Tensor]
"""`loss(logits of a chunk, which positions it holds) -> scalar`."""


def chunked_loss(hidden: Tensor, head: Tensor, loss: ChunkLoss) -> Tensor:
    """Sum of `loss` over chunks of positions, with gradients to `hidden` and `head`.

    Args:
        hidden: student's hidden states `[positions, hidden]`.
        head: weight of the LM head `[vocabulary, hidden]`.
        loss: loss of a chunk from its logits.

    Logits exist for `CHUNK` positions at a time: each chunk's gradient is taken in the forward pass and summed in fp32.
    """
    return _ChunkedLoss.apply(hidden, head, loss)


class _ChunkedLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, loss: ChunkLoss) -> Tensor:
        total = hidden.new_zeros((), dtype=torch.float32)
        grad_hidden = torch.empty_like(hidden)
        grad_head = torch.zeros_like(head, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        for start in range(0, len(hidden), CHUNK):
            chunk = slice(start, start + CHUNK)
            logits = (hidden[chunk] @ head.T).detach().requires_grad_()
            with torch.enable_grad():
                value = loss(logits, chunk)
            (grad,) = torch.autograd.grad(value, logits)
            grad_hidden[chunk] = grad @ head
            if grad_head is not None:
                _add_product(grad_head, grad.T, hidden[chunk])
            total += value.detach()
        ctx.save_for_backward(grad_hidden, None if grad_head is None else grad_head.to(head.dtype))
        return total

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor | None, None]:
        grad_hidden, grad_head = ctx.saved_tensors
        return upstream * grad_hidden, None if grad_head is None else upstream * grad_head, None


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add a matrix product to fp32 sums, without rounding it to the factors' precision where the device can do that."""
    if total.dtype != left.dtype and total.is_cuda:
        torch.addmm(total, left, right, out_dtype=torch.float32, out=total)
    else:
        total += (left @ right).float()

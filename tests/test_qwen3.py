"""The forward pass against transformers' own Qwen3."""

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from opdlm.blocks import clean_mask, training_mask
from opdlm.model.attention import SegmentAttention, causal
from opdlm.model.qwen3 import Qwen3
from tests.conftest import VOCABULARY, assert_close, make_model


def reference(model: Qwen3) -> Qwen3ForCausalLM:
    """transformers' model with the same weights."""
    shape = model.shape
    config = Qwen3Config(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_hidden_layers,
        num_attention_heads=shape.num_attention_heads,
        num_key_value_heads=shape.num_key_value_heads,
        head_dim=shape.head_dim,
        rms_norm_eps=shape.rms_norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        tie_word_embeddings=shape.tie_word_embeddings,
        attn_implementation="eager",
    )
    other = Qwen3ForCausalLM(config).eval()
    other.load_state_dict(model.state_dict())
    return other


def additive(mask: torch.Tensor) -> torch.Tensor:
    return torch.zeros(1, 1, *mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)


@pytest.mark.parametrize("tied", [True, False])
def test_the_student_equals_transformers_under_the_same_explicit_mask(tied: bool) -> None:
    model = make_model(tied=tied)
    ids = torch.randint(VOCABULARY, (30,), generator=torch.Generator().manual_seed(1))
    positions = torch.cat([torch.arange(16), torch.arange(6, 20)])
    mask = training_mask(positions, torch.arange(30) >= 16, 4)
    with torch.no_grad():
        ours = model.logits(model(ids, positions, SegmentAttention([30], [mask])))
        theirs = reference(model)(ids[None], attention_mask=additive(mask), position_ids=positions[None]).logits[0]
    assert_close(ours, theirs)


def test_the_teacher_equals_transformers_causal_model() -> None:
    model = make_model(block_size=None)
    ids = torch.randint(VOCABULARY, (25,), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        ours = model.logits(model(ids, torch.arange(25), causal([25])))
        theirs = reference(model)(ids[None]).logits[0]
    assert_close(ours, theirs)


def test_packed_segments_do_not_see_each_other(student: Qwen3) -> None:
    lengths = [5, 12, 1]
    ids = [torch.randint(VOCABULARY, (n,), generator=torch.Generator().manual_seed(n)) for n in lengths]
    positions = [torch.arange(n) for n in lengths]
    masks = [clean_mask(p, p, 4) for p in positions]
    with torch.no_grad():
        together = student(torch.cat(ids), torch.cat(positions), SegmentAttention(lengths, masks))
        alone = [student(i, p, SegmentAttention([len(i)], [m])) for i, p, m in zip(ids, positions, masks, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-6, rtol=1e-5)


def test_recomputed_layers_save_memory_and_change_no_gradient(student: Qwen3) -> None:
    ids, positions, attend = torch.arange(25) % VOCABULARY, torch.arange(25), causal([25])

    def gradients(recomputed: int) -> tuple[list[torch.Tensor], int]:
        """Gradients of all weights, and how many numbers the forward pass kept for them."""
        student.recomputed, kept = recomputed, 0
        student.zero_grad()

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal kept
            kept += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            total = student(ids, positions, attend).square().sum()
        forward = kept
        total.backward()
        return [parameter.grad.clone() for parameter in student.parameters() if parameter.grad is not None], forward

    plain, most = gradients(0)
    for recomputed, less in [(1, most), (2, 0.4 * most)]:
        again, kept = gradients(recomputed)
        assert all(map(torch.equal, plain, again))
        assert kept < less

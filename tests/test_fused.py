"""The fused forward and its Triton kernels equal the plain operations; where they run: test_kernels.py."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from torch.nn import functional as F

from opdlm.model import kernels
from opdlm.model.attention import causal
from opdlm.model.fused import FusedForward, side_by_side
from tests.conftest import VOCABULARY, assert_close, make_model
from tests.test_kernels import DEVICE, DTYPES, close

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("dtype", DTYPES)
def test_norms_and_gate_equal_the_plain_operations(dtype: torch.dtype) -> None:
    generator = torch.Generator(DEVICE).manual_seed(0)
    x = torch.randn(5, 48, device=DEVICE, generator=generator).to(dtype)
    weight = torch.randn(48, device=DEVICE, generator=generator).to(dtype)
    close(kernels.norm(x, weight, 1e-6), weight * F.rms_norm(x.float(), (48,), eps=1e-6))
    both = torch.randn(3, 2 * 2500, device=DEVICE, generator=generator).to(dtype)
    close(kernels.silu_product(both), F.silu(both[:, :2500]) * both[:, 2500:])


@torch.no_grad()
def test_the_fused_forward_equals_the_plain_one() -> None:
    model = make_model(head_dim=16).to(DEVICE)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ids = torch.randint(VOCABULARY, (21,), generator=torch.Generator().manual_seed(0)).to(DEVICE)
    positions = torch.cat([torch.arange(9), torch.arange(12)]).to(DEVICE)
    attend = causal([9, 12])
    plain = model(ids, positions, attend)
    fused = FusedForward(model)
    assert_close(fused(ids, positions, attend), plain)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    model.model.layers[1].self_attn.k_proj.weight.mul_(1.5)
    assert_close(fused(ids, positions, attend), model(ids, positions, attend))
    assert_close(FusedForward(model)(ids, positions, attend), fused(ids, positions, attend))


@torch.no_grad()
def test_the_last_block_may_reach_beyond_the_last_position() -> None:
    """Of 256 positions the last ones are 255 to 257 in blocks of three."""
    model = make_model(block_size=3, head_dim=16).to(DEVICE)
    ids, positions = torch.tensor([1, 2, 3], device=DEVICE), torch.arange(255, 258, device=DEVICE)
    assert_close(FusedForward(model)(ids, positions, causal([3])), model(ids, positions, causal([3])))


def test_projections_are_moved_once() -> None:
    attention_ = make_model().model.layers[0].self_attn
    linears = [attention_.q_proj, attention_.k_proj, attention_.v_proj]
    fused = side_by_side(linears)
    assert fused.data_ptr() == linears[0].weight.data_ptr() == side_by_side(linears).data_ptr()
    assert torch.equal(fused, torch.cat([linear.weight for linear in linears]))

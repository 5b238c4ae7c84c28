"""Triton kernels against brute force in fp64. They run on a CUDA device, or elsewhere in Triton's interpreter
(`tests/conftest.py`)."""

from dataclasses import dataclass, replace

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from opdlm.blocks import block_end, covered
from opdlm.config.decoding import DecodingSettings
from opdlm.decode import flight
from opdlm.decode.cache import Cache, Tokens, TritonAttention, TritonDecoding
from opdlm.decode.kernels import attention, sampling, steps
from opdlm.decode.request import Request
from opdlm.decode.sampling import Draws, uniform
from opdlm.decode.scheduler import waiting_line
from opdlm.decode.slots import Sizes, Slots, Step
from opdlm.model import kernels
from opdlm.model.fused import FusedForward
from opdlm.model.qwen3 import Qwen3, rotary_table, rotate
from opdlm.model.shape import Shape
from tests.conftest import VOCABULARY, make_model
from tests.test_cache import at, attended
from tests.test_engine import decode, prompt
from tests.test_scheduling import AsOnCuda

pytestmark = pytest.mark.gpu
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = [torch.float32, torch.bfloat16] if torch.cuda.is_available() else [torch.float32]


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    """The relative error of a whole tensor is that of its type's rounding."""
    bound = 1e-5 if actual.dtype == torch.float32 else 1e-2
    actual, expected = actual.double().cpu(), expected.double().cpu()
    assert float((actual - expected).norm() / expected.norm()) < bound


def rotated(x: torch.Tensor, weight: torch.Tensor, positions: torch.Tensor, shape: Shape) -> torch.Tensor:
    """Norm and rotary positions of `x [tokens, heads, dim]`, as the plain layers compute them."""
    normalised = weight * F.rms_norm(x.float(), x.shape[-1:], eps=1e-6).to(x.dtype)
    return rotate(normalised, rotary_table(positions, shape, x.dtype))


@dataclass(frozen=True)
class Case:
    """A variant of the attention kernel: `splits` parts of the context, or none for a prefill."""

    splits: int | None
    heads: int
    kv_heads: int
    block_size: int
    dim: int = 32
    page_size: int = 16
    dtype: torch.dtype = torch.float32

    def __str__(self) -> str:
        kind = f"{self.splits} parts" if self.splits else "prefill"
        return f"{kind}-{self.heads}/{self.kv_heads} heads-block {self.block_size}-{self.dtype}"


CASES = [
    Case(None, 4, 2, 4),
    Case(1, 4, 2, 4),
    Case(4, 4, 2, 4),
    Case(None, 8, 2, 1),
    Case(4, 8, 2, 1),
    Case(1, 2, 2, 8),
    Case(2, 2, 1, 16),
]
if torch.cuda.is_available():  # The interpreter does not multiply bf16 matrices.
    CASES += [Case(splits, 4, 2, 4, dim=128, page_size=64, dtype=torch.bfloat16) for splits in (None, 8)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_paged_attention_equals_brute_force(case: Case) -> None:
    """In a cache that is NaN wherever nobody may look."""
    generator = torch.Generator(DEVICE).manual_seed(0)
    heads, kv_heads, dim, page_size = case.heads, case.kv_heads, case.dim, case.page_size
    shape, per_slot = make_model(head_dim=dim).shape, 8
    # (position of the first token, tokens): at the start, over a page's border, nothing, a long one
    places = [(0, case.block_size), (page_size - case.block_size, 2 * case.block_size), (0, 0)]
    places += [(5 * page_size, 2 * case.block_size)]
    slots = len(places)

    def random(*size: int) -> torch.Tensor:
        return torch.randn(size, device=DEVICE, generator=generator).to(case.dtype)

    table = torch.randperm(slots * per_slot, device=DEVICE, generator=generator).view(slots, -1).int()
    entries = torch.full_like(random(2, slots * per_slot, kv_heads, page_size, dim), torch.nan)
    for slot, (begin, count) in enumerate(places):
        # A decoder has its new keys and values in registers, and reads none behind them.
        read = covered(begin + (0 if case.splits else count), page_size) // page_size
        entries[:, table[slot, :read].long()] = random(2, read, kv_heads, page_size, dim)
    before = entries.cpu()

    counts = torch.tensor([count for _, count in places], device=DEVICE)
    position = torch.tensor([begin for begin, _ in places], device=DEVICE)
    tiles = torch.arange(slots, device=DEVICE), counts.cumsum(0) - counts, counts, position
    token_slots = torch.arange(slots, device=DEVICE).repeat_interleave(counts)
    positions = torch.cat([torch.arange(b, b + c, device=DEVICE) for b, c in places])
    qkv = random(len(positions), heads + 2 * kv_heads, dim)
    raw_query, raw_key, value = qkv.split([heads, kv_heads, kv_heads], dim=1)
    weights = random(2, dim)
    query, key = (rotated(x, w, positions, shape) for x, w in zip((raw_query, raw_key), weights, strict=True))
    queries = 2 * case.block_size
    if case.splits is None:
        attention.write(entries, table, token_slots, positions, key, value)
        out = attention.attend(entries, table, tiles, query, case.block_size, queries)
    else:
        every = torch.arange(per_slot * page_size, device=DEVICE)
        tables = [x[:, 0, : dim // 2].contiguous() for x in rotary_table(every, shape, case.dtype)]
        rotation = kernels.Rotation(*weights, *tables, positions, 1e-6)
        arrivals = torch.zeros(slots * kv_heads, dtype=torch.int32, device=DEVICE)
        raw = (raw_query, raw_key, value)
        out = attention.decode(entries, table, tiles, raw, rotation, case.block_size, queries, case.splits, arrivals)
        assert not arrivals.any()

    after, table, query, key, value = (x.cpu() for x in (entries, table, query, key, value))
    written = torch.zeros_like(after, dtype=torch.bool)
    for token, (slot, place) in enumerate(zip(token_slots.tolist(), positions.tolist(), strict=True)):
        close(at(after, table, slot, place), torch.stack([key[token], value[token]]))
        at(written, table, slot, place)[:] = True
        seen = [at(after, table, slot, other) for other in range(block_end(place, case.block_size))]
        close(out[token], attended(query[token], *torch.stack(seen, dim=2)))
    unchanged = torch.where(written, before, after)
    assert torch.equal(unchanged.nan_to_num(7), before.nan_to_num(7)), "nothing else is written"


@pytest.mark.parametrize(
    ("dtype", "temperature", "vocabulary"),
    [(torch.float32, 0.7, 40), (torch.float32, 1.0, 9000), (DTYPES[-1], 0.7, 9000)],
)
def test_draws_are_the_inverse_of_the_distribution_function(
    dtype: torch.dtype, temperature: float, vocabulary: int
) -> None:
    generator = torch.Generator(DEVICE).manual_seed(0)
    logits = (torch.randn(64, vocabulary, device=DEVICE, generator=generator) * 3).to(dtype)
    seeds = torch.randint(2**62, (64,), device=DEVICE, generator=generator)
    positions, steps = torch.randint(5000, (2, 64), device=DEVICE, generator=generator)
    uniforms = uniform(seeds, positions, steps)
    forbidden = 7
    tokens, confidence = sampling.draw(logits, temperature, Draws(seeds, positions, steps), forbidden)
    assert not (tokens == forbidden).any()
    scores = logits.double()
    scores[:, forbidden] = -torch.inf
    close(confidence, scores.softmax(-1).gather(-1, tokens[:, None]).squeeze(-1))
    upper = (scores / temperature).softmax(-1).cumsum(-1).gather(-1, tokens[:, None]).squeeze(-1)
    lower = upper - (scores / temperature).softmax(-1).gather(-1, tokens[:, None]).squeeze(-1)
    assert (lower - 1e-5 <= uniforms).all()
    assert (uniforms <= upper + 1e-5).all()


def test_greedy_draws_take_the_first_of_the_best() -> None:
    logits = torch.zeros(3, 9000, device=DEVICE)
    logits[0, 5000] = logits[0, 8000] = 2
    logits[1, 7] = 9
    nothing = torch.zeros(3, dtype=torch.int64, device=DEVICE)
    tokens, confidence = sampling.draw(logits, 0.0, Draws(nothing, nothing, nothing), forbidden=7)
    assert tokens.tolist() == [5000, 0, 0]
    expected = torch.tensor([2.0, 0, 0]).exp() / torch.tensor([2 * torch.e**2 + 8997, 8999, 8999])
    close(confidence, expected)


@settings(max_examples=20)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 12)), min_size=1, max_size=7),
    shift=st.sampled_from([0, 1]),
    starts=st.integers(1, 7),
    row_room=st.integers(4, 20),
    data=st.data(),
)
def test_a_step_is_kept_the_books_of_as_in_plain_tensor_code(
    lengths: list[tuple[int, int]], shift: int, starts: int, row_room: int, data: st.DataObject
) -> None:
    """The kernels and the methods of `Slots`, fed with the same tokens, go through the same states to the end."""
    block_size = 1 if shift else 4
    candidates = list(waiting_line([Request(prompt(length), limit, seed=2**40 + length) for length, limit in lengths]))
    for slot, candidate in enumerate(candidates):
        candidate.slot, candidate.start = slot, len(candidate.request.prompt) // block_size * block_size
    stop_ids = torch.tensor([3, 5])
    plain = Slots(7, 24, block_size, shift, VOCABULARY - 1, stop_ids)
    fast = Slots(7, 24, block_size, shift, VOCABULARY - 1, stop_ids.to(DEVICE))
    plain.admit(candidates)
    fast.admit(candidates)
    chosen = torch.arange(8)
    sizes = Sizes(tokens=(8 + starts) * block_size, rows=row_room, starts=starts)
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    for _ in range(200):
        expected, step = plain.plan(chosen, sizes), steps.plan(fast, chosen.to(DEVICE), sizes)
        assert differences(step, expected) == []
        chance = torch.rand(expected.masked.shape, generator=generator) < 0.5
        accepted = expected.masked & (chance | (expected.masked.cumsum(dim=-1) == 1))
        drawn = torch.randint(VOCABULARY - 1, expected.masked.shape, generator=generator)
        plain.reveal(expected, drawn, accepted)
        steps.reveal(fast, step, drawn.to(DEVICE), accepted.to(DEVICE))
        assert differences(fast, plain) == []
        if plain.finished.all():
            return
    raise AssertionError("nobody may wait for ever")


def differences(actual: object, expected: object, real: torch.Tensor | None = None) -> list[str]:
    """Names of the tensors that differ; what stands at padding (not `real`) and the end of an unfinished answer may."""
    found = []
    for name in [*getattr(expected, "__slots__", ()), *getattr(expected, "__dict__", ())]:
        value, other = getattr(expected, name), getattr(actual, name)
        if isinstance(value, Draws | Tokens):
            found += differences(other, value, expected.sources < expected.masked.numel())
        elif isinstance(value, torch.Tensor):
            other, kept = other.cpu(), torch.ones_like(value, dtype=torch.bool)
            if isinstance(expected, Draws):
                kept = real
            elif isinstance(expected, Step) and name == "rows":
                kept = expected.sources < expected.masked.numel()
            elif isinstance(expected, Slots) and name in ("end", "stopped"):
                kept = expected.finished & (torch.arange(expected.count + 1) < expected.count)
            if not torch.equal(other[kept], value[kept]):
                found.append(name)
    return found


@pytest.mark.skipif(torch.cuda.is_available(), reason="the engine itself takes these kernels there: test_gpu.py")
@pytest.mark.parametrize("block_size", [4, 8, 16])
def test_decoding_with_all_kernels_gives_the_plain_answers(block_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the engine does on a CUDA device, graphs aside."""
    how = DecodingSettings(strategy="dynamic", tokens_per_step=block_size // 4, threshold=0.5, temperature=1.0)
    requests = [Request(prompt(length), block_size, seed=length) for length in (3, 18)]
    expected = decode(make_model(block_size, head_dim=32), requests, how)

    def draw(logits: torch.Tensor, settings: DecodingSettings, *rest: object) -> tuple[torch.Tensor, torch.Tensor]:
        return sampling.draw(logits, settings.temperature, *rest)

    def attend(cache: Cache, tokens: Tokens, size: int) -> TritonAttention:
        # Moving them to a device would do the same.
        names = "tile_slots", "tile_first", "tile_count", "tile_position"
        tokens = replace(tokens, **{name: getattr(tokens, name).contiguous() for name in names})
        return (TritonDecoding if tokens.whole else TritonAttention)(cache, tokens, size)

    monkeypatch.setattr(TritonDecoding, "PROGRAMS", 8)
    monkeypatch.setattr(Slots, "plan", steps.plan)
    monkeypatch.setattr(Slots, "reveal", steps.reveal)
    monkeypatch.setattr(flight, "draw_tokens", draw)
    monkeypatch.setattr(flight, "cached_attention", attend)
    monkeypatch.setattr(Qwen3, "inference", lambda model: torch.no_grad()(FusedForward(model).__call__))
    monkeypatch.setattr("opdlm.decode.engine.Flight", AsOnCuda)
    assert decode(make_model(block_size, head_dim=32), requests, how) == expected

"""The benchmark of attention: all back ends compute the same, and one that fails takes one line."""

import os
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor

from tests import benchmarks
from tests.benchmarks import CPU, Benchmarks

modules, floors = benchmarks.modules, benchmarks.floors


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize(("sequences", "context"), [(1, 8), (5, 40)])
def test_the_back_ends_compute_the_same(
    modules: Benchmarks, monkeypatch: pytest.MonkeyPatch, sequences: int, context: int
) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn", SimpleNamespace(flash_attn_with_kvcache=flash_attn_with_kvcache))
    names = ["sdpa", "sdpa-gathering", "flex", "flash"]
    given = ["--device", "cpu", "--sequences", str(sequences), "--context", str(context), "--backend", *names]
    results = modules.attention.main(given)
    assert [result.name for result in results] == [modules.backends.BACKENDS[name].name for name in names]
    assert all(result.error < 1e-6 and result.seconds is None for result in results)


def flash_attn_with_kvcache(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, cache_seqlens: Tensor, cache_batch_idx: Tensor
) -> Tensor:
    """What flash-attn's function of this name does with these arguments."""
    group, out = q.shape[2] // k_cache.shape[2], torch.empty_like(q)
    for index, (length, owner) in enumerate(zip(cache_seqlens.tolist(), cache_batch_idx.tolist(), strict=True)):
        keys, values = (cache[owner, :length].repeat_interleave(group, dim=1) for cache in (k_cache, v_cache))
        weights = torch.einsum("qhd,khd->hqk", q[index], keys) / q.shape[-1] ** 0.5
        out[index] = torch.einsum("hqk,khd->qhd", weights.softmax(-1), values)
    return out


@pytest.mark.gpu
def test_our_kernel_computes_the_same_however_it_is_launched(modules: Benchmarks) -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    if os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("without the interpreter it runs on a CUDA device only")
    backends, problem = modules.backends, modules.problem
    step = problem.make_problem(modules.floors.SHAPES["tiny"], 2, 36, CPU)
    launches = [backends.Launch(2, 8, 3), backends.Launch(1, 2, 2)]
    for backend in (backends.Ours(step), *(backends.Tuned(step, launch) for launch in launches)):
        assert modules.attention.error(backend) < 1e-6
    assert len(list(modules.attention.tuned(step))) == 1 + 5 * 3 * 2


def test_a_launch_replaces_options_and_nothing_else(modules: Benchmarks) -> None:
    class Kernel:
        def __getitem__(self, grid: tuple[int, ...]) -> object:
            return lambda *arguments, **options: called.append((grid, arguments, options))

    called: list = []
    modules.backends.Changed(Kernel(), {"num_warps": 8})[(2, 3)]("query", num_warps=2, num_stages=2)
    assert called == [((2, 3), ("query",), {"num_warps": 8, "num_stages": 2})]


def test_a_back_end_that_fails_takes_one_line(
    modules: Benchmarks, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    attention, backends = modules.attention, modules.backends
    step = modules.problem.make_problem(modules.floors.SHAPES["tiny"], 2, 12, CPU)

    class Broken(backends.Sdpa):
        def __call__(self, layer: int) -> Tensor:
            raise ValueError("no such\nkernel")

    class Wrong(backends.Sdpa):
        name = "wrong"

        def __call__(self, layer: int) -> Tensor:
            return super().__call__(layer) * torch.nan

    def no_capture(run: object) -> float:
        raise RuntimeError("not permitted when stream is capturing\nmore")

    monkeypatch.setattr(attention, "median_seconds", lambda run, repeats, warm_up: run() or 4e-6)
    monkeypatch.setattr(attention, "graph_seconds", lambda run: run() or 2e-6)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: None)
    monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    limits = modules.floors.Ceilings(flops=1e12, bandwidth=1e12)
    tried = [("broken", Broken), ("wrong", Wrong), ("fine", backends.Sdpa)]
    assert [result.name for result in attention.run(step, iter(tried), limits)] == ["wrong", backends.Sdpa.name]
    monkeypatch.setattr(attention, "graph_seconds", no_capture)
    attention.run(step, attention.chosen(["sdpa"]), limits)
    broken, wrong, fine, fastest, eager = capsys.readouterr().out.splitlines()
    assert broken.endswith("failed: ValueError: no such")
    assert wrong.endswith("error nan  WRONG")
    # 2 sequences x 12 tokens x 2 heads of 32 x keys and values x 4 bytes = 12288 bytes; 4 layers in 2 us.
    assert " 0.5 us/layer   0.02 TB/s   2.5% of copy " in fine
    assert "WRONG" not in fine
    assert fastest == "  fastest that is right: SDPA, contiguous cache"
    assert eager.endswith("without a graph: RuntimeError: not permitted when stream is capturing")


def test_the_layers_exceed_the_devices_caches(modules: Benchmarks, floors: ModuleType) -> None:
    for sequences, context in ((128, 1152), (16, 384), (1, 8)):
        layers = modules.attention.layers_needed(floors.SHAPES["4B"], sequences, context)
        assert 1e9 < layers * 4 * 8 * 128 * sequences * context < 4e9


@pytest.mark.parametrize("context", ["4", "38"])
def test_contexts_are_whole_blocks(modules: Benchmarks, context: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        modules.attention.parse(["--context", context])
    assert "whole blocks" in capsys.readouterr().err

"""The benchmarks: floors against numbers found elsewhere, models, scripts, and tiny runs of each on the CPU.

The expected floors are those of an independent hand computation (one H200: 731 TFLOP/s, 4.23 TB/s; 128 sequences,
prompts of 192 tokens), with the LM head on all rows.
"""

import csv
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor

from opdlm.decode.engine import Engine
from opdlm.model.attention import causal
from opdlm.reporting.rollout import Measurement
from tests.conftest import assert_close

SEQUENCES, PROMPT = 128, 192
CPU = torch.device("cpu")


class Benchmarks:
    """The modules in `benchmarks/`, as its scripts see each other."""

    def __getattr__(self, name: str) -> ModuleType:
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def modules() -> Iterator[Benchmarks]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
        yield Benchmarks()


@pytest.fixture(scope="module")
def floors(modules: Benchmarks) -> ModuleType:
    return modules.floors


@pytest.fixture(scope="module")
def rollout(modules: Benchmarks) -> ModuleType:
    return modules.rollout


def test_the_figure_reads_the_columns_that_the_benchmark_writes(modules: Benchmarks) -> None:
    assert [field.name for field in fields(modules.table.Row)] == list(Measurement.model_fields)


@pytest.mark.parametrize(
    ("name", "new_tokens", "block", "thousands"),
    [
        ("0.6B", 512, 4, 53.5),
        ("0.6B", 2048, 4, 25.3),
        ("1.7B", 256, 4, 36.3),
        ("1.7B", 512, 4, 32.3),
        ("4B", 256, 4, 18.1),
        ("4B", 512, 4, 16.8),
        ("8B", 512, 4, 10.2),
        ("8B", 2048, 4, 7.98),
        ("0.6B", 512, 1, 69.6),
        ("0.6B", 2048, 1, 28.4),
        ("1.7B", 256, 1, 66.5),
        ("4B", 512, 1, 32.8),
        ("8B", 512, 1, 22.9),
        ("8B", 2048, 1, 14.2),
    ],
)
def test_floors_are_those_of_the_hand_computation(
    floors: ModuleType, name: str, new_tokens: int, block: int, thousands: float
) -> None:
    h200 = floors.Ceilings(flops=731e12, bandwidth=4.23e12)
    work = floors.forward_work(floors.SHAPES[name], SEQUENCES, block, PROMPT + new_tokens / 2)
    floor = floors.floor_tokens_per_second(work, h200, SEQUENCES, tokens_per_step=1)
    assert floor == pytest.approx(thousands * 1000, rel=0.01)


@pytest.mark.parametrize(
    ("name", "weights", "keys_and_values", "arithmetic"),
    [("0.6B", 1.19e9, 6.58e9, 0.61e12), ("4B", 8.04e9, 8.46e9, 4.12e12), ("8B", 15.14e9, 8.46e9, 7.75e12)],
)
def test_bytes_and_arithmetic_are_those_of_the_hand_computation(
    floors: ModuleType, name: str, weights: float, keys_and_values: float, arithmetic: float
) -> None:
    work = floors.forward_work(floors.SHAPES[name], SEQUENCES, 4, PROMPT + 256)
    assert work.linears.traffic + work.head.traffic == pytest.approx(weights, rel=0.01)
    assert work.attention.traffic == pytest.approx(keys_and_values, rel=0.01)
    assert work.linears.flops + work.head.flops == pytest.approx(arithmetic, rel=0.01)


def test_linear_parameters_are_those_of_the_model(modules: Benchmarks, floors: ModuleType) -> None:
    model = modules.models.random_model(floors.SHAPES["tiny"], CPU)
    projections = [weight for name, weight in model.named_parameters() if "proj" in name]
    assert floors.linear_parameters(model.shape) == sum(weight.numel() for weight in projections)


def test_the_models_share_one_set_of_weights(modules: Benchmarks, floors: ModuleType) -> None:
    models = modules.models
    model = models.random_model(floors.SHAPES["tiny"], CPU)
    names = dict(model.named_parameters(remove_duplicate=False))
    assert names["lm_head.weight"] is names["model.embed_tokens.weight"]
    assert 0.019 < float(names["lm_head.weight"].std()) < 0.021
    assert all(bool((weight == 1).all()) for name, weight in names.items() if name.endswith("norm.weight"))
    for other in (models.variant(model, 4), models.variant(model, 1), models.transformers_model(model)):
        shared = dict(other.named_parameters(remove_duplicate=False))
        assert shared.keys() == names.keys()
        assert all(shared[name] is weight for name, weight in names.items())


@torch.no_grad()
def test_the_reference_computes_the_same(modules: Benchmarks, floors: ModuleType) -> None:
    model = modules.models.random_model(floors.SHAPES["tiny"], CPU)
    ids = torch.tensor(modules.models.random_prompts(model.shape, 1, 30)[0])
    ours = model.logits(model(ids, torch.arange(30), causal([30])))
    assert_close(ours, modules.models.transformers_model(model)(ids[None]).logits[0])


def test_scripted_acceptance_reveals_1_9_tokens_a_step_of_a_block_of_4(modules: Benchmarks) -> None:
    script, generator = modules.ways.WAYS["dynamic"].script, torch.Generator().manual_seed(0)
    masked, steps = torch.ones(20_000, 4, dtype=torch.bool), 0
    while masked.any():
        confidence = torch.randn(*masked.shape, 50, generator=generator).softmax(dim=-1)[..., 0]
        accepted = script.accept(confidence, masked)
        assert not (accepted & ~masked).any()
        rows = masked.any(dim=-1)
        best = confidence.masked_fill(~masked, -1).argmax(dim=-1, keepdim=True)
        assert accepted.gather(-1, best)[rows].all()
        steps += int(rows.sum())
        masked &= ~accepted
    assert 4 * 20_000 / steps == pytest.approx(1.90, abs=0.02)


def make_case(modules: Benchmarks, way: str = "dynamic", sequences: int = 2, **changes: int) -> object:
    given = {"prompt_tokens": 8, "new_tokens": 16, "waves": 1} | changes
    return modules.table.Case("tiny", modules.ways.WAYS[way], sequences=sequences, **given)


def test_a_row_compares_the_same_forwards_with_the_floor(modules: Benchmarks, floors: ModuleType) -> None:
    table, model = modules.table, modules.models.random_model(floors.SHAPES["tiny"], CPU)
    limits = floors.Ceilings(flops=1e9, bandwidth=1e9)
    timing = table.Timing(seconds=[1.0, 2.0, 3.0], tokens=32, steps=[6, 10])
    row = table.make_row(make_case(modules), timing, limits, 4.0, model, "abc-dirty")
    work = floors.forward_work(model.shape, 2, 4, context=16)
    assert (row.tokens_per_second, row.ratio_to_reference, row.ms_per_forward) == (16, 4, 200)
    assert (row.forwards_per_token, row.tokens_per_step, row.commit) == (0.5, 2, "abc-dirty")
    # 8 forwards an answer, in 2 s.
    assert row.fraction_of_floor == pytest.approx(8 * work.seconds(limits) / 2)
    assert row.tflops == pytest.approx(8 * work.flops / 2 / 1e12)
    assert row.gbps == pytest.approx(8 * work.traffic / 2 / 1e9)
    assert "scripted acceptance" in table.line(row, timing)


def test_a_row_says_which_code_was_measured(modules: Benchmarks, tmp_path: Path) -> None:
    def git(*command: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        run = subprocess.run(["git", *who, *command], cwd=tmp_path, check=True, capture_output=True, text=True)
        return run.stdout.strip()

    commit = modules.table.commit.__wrapped__
    copied, results = tmp_path / "copied", tmp_path / "benchmarks" / "results"
    for folder in (copied, tmp_path / "opdlm", results):
        folder.mkdir(parents=True)
    assert commit(tmp_path) == "no git"
    git("init", "--quiet")
    (tmp_path / "opdlm" / "code.py").write_text("1")
    git("add", "opdlm")
    git("commit", "--quiet", "--message", "first")
    head = git("rev-parse", "--short", "HEAD")
    (results / "rollout.csv").write_text("a measurement is no code")
    assert commit(tmp_path) == head
    (tmp_path / "opdlm" / "code.py").write_text("2")
    assert commit(tmp_path) == f"{head}-dirty"
    assert commit(copied) == "no git", "the repository around a copy is another one"


def test_warming_up_takes_a_few_steps_of_the_run_itself(modules: Benchmarks, floors: ModuleType) -> None:
    model = modules.models.variant(modules.models.random_model(floors.SHAPES["tiny"], CPU), 4)
    engine, way, watched = Engine(model, stop_ids=[], slots=2), modules.ways.WAYS["static"], []
    stream = engine.stream

    def spy(requests: list, *settings: object, watch: object, **options: object) -> object:
        watched.append(len(requests))
        return stream(requests, *settings, watch=lambda slots: (watched.append(slots.count), watch(slots)), **options)

    engine.stream = spy
    requests = modules.models.make_requests(modules.models.random_prompts(model.shape, 2, 8), 16)
    modules.measure.warm_up(engine, way, requests)
    assert watched == [2] * (1 + modules.measure.WARM_UP_STEPS)
    modules.measure.warm_up(engine, way, modules.models.make_requests([[1]], 2))  # over before it is warm


def test_a_batch_that_shrinks_is_warmed_up_for_every_size(modules: Benchmarks) -> None:
    sizes, cuda = modules.measure.batch_sizes, torch.device("cuda")
    assert sizes(make_case(modules, "dynamic", 24), cuda) == [24, 16, 8, 4, 2, 1]
    assert sizes(make_case(modules, "dynamic", 1), cuda) == [1]
    assert sizes(make_case(modules, "static", 24), cuda) == sizes(make_case(modules, "dynamic", 24), CPU) == [24]


@pytest.mark.parametrize(("way", "sequences"), [("static", 3), ("dynamic", 3), ("autoregressive", 3), ("static", 1)])
def test_a_profile_sees_the_steps_between_two_answers(
    modules: Benchmarks, floors: ModuleType, way: str, sequences: int
) -> None:
    case = make_case(modules, way, sequences, new_tokens=64)
    model = modules.models.variant(modules.models.random_model(floors.SHAPES["tiny"], CPU), case.way.block)
    engine, short, window = Engine(model, [], slots=sequences), modules.profiling.SHORT, modules.profiling.WINDOW
    engine.stream = spy = Spy(engine.stream)
    stream = modules.profiling.steady(engine, case)
    limits = [request.max_tokens for request in spy.requests]
    assert len(spy.answers) == 1
    next(stream)
    lengths = [len(answer.ids) for _, answer in spy.answers]
    if sequences == 1:
        assert limits == lengths == [short + window, window]
    else:
        assert limits == [short + window] * (sequences - 1) + [short]
        assert lengths == [short, short + window]
    assert all(len(request.prompt) + short + window // 2 == 8 + 32 for request in spy.requests)


class Spy:
    """`Engine.stream`, and what it was asked and has answered."""

    def __init__(self, stream: object) -> None:
        self.stream, self.requests, self.answers = stream, [], []

    def __call__(self, requests: list, *settings: object, **options: object) -> Iterator:
        self.requests = requests
        for answer in self.stream(requests, *settings, **options):
            self.answers.append(answer)
            yield answer


def test_the_kernel_table_lists_the_longest_first(modules: Benchmarks) -> None:
    profiling = modules.profiling
    kernels = [profiling.Kernel("_plan", 10, 0.001), profiling.Kernel("long", 2, 0.004)]
    table = profiling.kernel_table(kernels, wall=0.010).splitlines()
    assert [text.split() for text in table[1:3]] == [
        ["4.00", "2", "2000.00", "long"],
        ["1.00", "10", "100.00", "_plan"],
    ]
    assert table[3] == "12 kernels ran 5.0 ms of 10.0 ms: GPU busy 50.0%"
    heading = profiling.heading(make_case(modules, new_tokens=64), kernels, wall=0.010, bare=0.009)
    assert "10 steps, 1.000 ms each, 0.900 without the profiler" in heading
    assert profiling.heading(make_case(modules), [], 0.010, 0.009)


def test_running_out_of_memory_does_not_end_the_run(modules: Benchmarks, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(error: Exception) -> None:
        raise error

    surviving = modules.measure.surviving
    assert surviving(lambda: fail(torch.OutOfMemoryError("CUDA out of memory.")), "8B") is None
    assert capsys.readouterr().out == "8B  out of memory\n"
    with pytest.raises(RuntimeError, match="other"):
        surviving(lambda: fail(RuntimeError("other")), "8B")


def test_a_tiny_run_appends_its_rows(rollout: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "results" / "rollout.csv"
    common = ["--prompt-tokens", "8", "--new-tokens", "16", "--repeats", "1", "--reference-tokens", "4"]
    rollout.main([*common, "--sequences", "1", "3", "--csv", str(table), "--divergence"])
    rollout.main([*common, "--sequences", "2", "--csv", str(table), "--strategy", "static", "--commit", "copied"])
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    ways = ["static", "dynamic (scripted acceptance)", "autoregressive"]
    assert [(row["sequences"], row["strategy"]) for row in rows] == [
        *(("1", way) for way in ways),
        *(("3", way) for way in ways),
        ("2", "static"),
    ]
    assert rows[-1]["commit"] == "copied"
    for row in rows:
        assert not row["tokens_per_second"], "a CPU has no absolute numbers"
        assert float(row["ratio_to_reference"]) > 0
        assert (float(row["tokens_per_step"]) == 1) == ("dynamic" not in row["strategy"])
    assert " of 3 (" in capsys.readouterr().out


# Attention


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


# Linear layers, and memory


def test_linears_are_those_of_the_fused_forward(modules: Benchmarks, floors: ModuleType) -> None:
    for shape in floors.SHAPES.values():
        each = sum(matrix.inputs * matrix.outputs for matrix in modules.linears.layer_matrices(shape))
        assert shape.num_hidden_layers * each == floors.linear_parameters(shape)
    layers, head = (
        modules.linears.linears(floors.SHAPES["tiny"], CPU),
        modules.linears.lm_head(floors.SHAPES["tiny"], CPU),
    )
    work = floors.forward_work(floors.SHAPES["tiny"], 2, 4, context=1)
    assert (layers.work(8), head.work(8)) == (work.linears, work.head)
    assert sum(layers.part(index).work(8).flops for index in range(4)) == work.linears.flops


def test_linears_print_a_line_for_each_number_of_tokens(
    modules: Benchmarks, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    linears = modules.linears
    linears.main(["--device", "cpu", "--tokens", "4", "6", "--parts"])
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [text.split()[:3] for text in lines[::2]] == [["tiny", "4", "tokens"], ["tiny", "6", "tokens"]]
    assert lines[1].count("GFLOP") == 4
    monkeypatch.setattr(linears.Products, "seconds", lambda self, tokens: tokens * 1e-3 + (tokens == 5) * 1e-3)
    linears.measure("tiny", [4, 5, 6, 10], False, modules.floors.Ceilings(1e9, 1e9), CPU)
    lines = capsys.readouterr().out.splitlines()
    assert "  4.000 ms " in lines[0]
    assert "of floor" in lines[0]
    assert lines[4:] == ["tiny n = 1: 4 and 6 tokens 10.000 ms, twice 5 12.000 ms, +20.0%"]


def test_rollouts_and_training_steps_alternate(modules: Benchmarks, capsys: pytest.CaptureFixture[str]) -> None:
    alternate = modules.alternate
    alternate.main(["--alternations", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert [text.split(":")[0] for text in lines[1:]] == ["after    0", "after    1", "after    2"]
    assert alternate.growth((5, 7), (5, 2007), 16, 200) == (
        "growth from 16 to 200: allocated +0 bytes, reserved +2,000"
    )

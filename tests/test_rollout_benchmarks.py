"""The benchmark of rollouts: the same forwards as the floor's, warm-ups, profiles, and tiny runs on the CPU."""

import csv
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest
import torch

from opdlm.decode.engine import Engine
from opdlm.reporting.rollout import Measurement
from tests import benchmarks
from tests.benchmarks import CPU, Benchmarks

modules, floors = benchmarks.modules, benchmarks.floors


@pytest.fixture(scope="module")
def rollout(modules: Benchmarks) -> ModuleType:
    return modules.rollout


def test_the_figure_reads_the_columns_that_the_benchmark_writes(modules: Benchmarks) -> None:
    assert [field.name for field in fields(modules.table.Row)] == list(Measurement.model_fields)


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

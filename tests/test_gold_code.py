"""The published solutions of HumanEval and MBPP+ pass their tests; with one operator changed they fail."""

import ast
import gzip
import json
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from opdlm.config.data import Source
from opdlm.data.rows import Row
from opdlm.data.sources import read_file
from opdlm.evaluate.scorers import code
from opdlm.records import Sample
from opdlm.verdicts import Verdict

BENCHMARKS = Path(__file__).parents[2] / "shared" / "bench_data"
HUMANEVAL = BENCHMARKS / "humaneval" / "HumanEval.jsonl.gz"
MBPP_PLUS = BENCHMARKS / "mbpp_plus" / "MbppPlus.jsonl.gz"
MUTANTS, SECONDS = 40, 2
SWAPPED: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Lt: ast.Gt,
    ast.Gt: ast.Lt,
    ast.LtE: ast.Gt,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.And: ast.Or,
}

pytestmark = [
    pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the benchmark files are not here"),
    pytest.mark.filterwarnings("ignore:invalid escape sequence"),  # in published solutions
]


@dataclass(frozen=True)
class Task:
    row: Row
    solution: str


def humaneval() -> list[Task]:
    rows = read_file(Source(layout="humaneval", file="HumanEval.jsonl.gz"), HUMANEVAL, None)
    return [
        Task(row, row.question + entry["canonical_solution"])
        for row, entry in zip(rows, entries(HUMANEVAL), strict=True)
    ]


def mbpp() -> list[Task]:
    return [
        Task(
            Row(question=entry["prompt"], entry_point=entry["entry_point"], test_list=[entry["assertion"]]),
            entry["canonical_solution"],
        )
        for entry in entries(MBPP_PLUS)
    ]


def entries(file: Path) -> list[dict[str, str]]:
    with gzip.open(file, "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def judged(tasks: list[Task]) -> list[Verdict]:
    samples = [
        Sample(
            index=index,
            seed=0,
            prompt_tokens=0,
            ids=[],
            steps=[],
            text=f"```python\n{task.solution}\n```\nThis works.",
            finish="stop",
        )
        for index, task in enumerate(tasks)
    ]
    return code.score([task.row for task in tasks], samples)


@pytest.mark.parametrize(("tasks", "count"), [(humaneval, 164), (mbpp, 378)])
def test_all_published_solutions_pass(tasks, count):
    verdicts = judged(tasks())
    assert [verdict for verdict in verdicts if not verdict.correct] == []
    assert len(verdicts) == count


def test_solutions_that_return_nothing_fail():
    tasks = [Task(task.row, f"def {task.row.entry_point}(*_):\n    return None") for task in humaneval()]
    assert not any(verdict.correct for verdict in judged(tasks))


def test_solutions_with_a_changed_operator_are_judged_as_by_plain_python():
    """Some changes are not seen by the benchmark's tests, so the same is asked of Python, without any sandbox."""
    draw = random.Random(0)
    tasks = [task for task in humaneval() + mbpp() if operators(ast.parse(task.solution))]
    mutants = [
        Task(task.row.model_copy(update={"test_time_limit": SECONDS}), mutated(task.solution, draw))
        for task in draw.sample(tasks, MUTANTS)
    ]
    with ThreadPoolExecutor(2) as pool:
        expected = list(pool.map(passes_in_plain_python, mutants))
    assert [verdict.correct for verdict in judged(mutants)] == expected
    assert expected.count(False) > 0.8 * MUTANTS


def operators(tree: ast.Module) -> list[tuple[ast.AST, str]]:
    """Places of operators that can be swapped: nodes, and the fields that hold the operators."""
    fields = ((node, field) for node in ast.walk(tree) for field in ("op", "ops") if hasattr(node, field))
    return [(node, field) for node, field in fields if type(first(getattr(node, field))) in SWAPPED]


def first(operator):
    return operator[0] if isinstance(operator, list) else operator


def mutated(solution: str, draw: random.Random) -> str:
    tree = ast.parse(solution)
    node, field = draw.choice(operators(tree))
    swapped = SWAPPED[type(first(getattr(node, field)))]()
    setattr(node, field, [swapped, *node.ops[1:]] if field == "ops" else swapped)
    return ast.unparse(tree)


def passes_in_plain_python(task: Task) -> bool:
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))"
    program = "\n".join([limit, task.solution, *task.row.test_list])
    try:
        return (
            subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, timeout=SECONDS).returncode == 0
        )
    except subprocess.TimeoutExpired:
        return False

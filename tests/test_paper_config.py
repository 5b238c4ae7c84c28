"""config/paper.yaml holds the eight published runs: every value that a setting expresses, against the specification."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from opdlm.config.data import Source
from opdlm.config.models import ConvertSettings, TeacherSettings
from opdlm.config.plan import Plan
from opdlm.config.prompts import WORDINGS
from opdlm.config.settings import Settings, init_parts, load
from opdlm.config.training import RunSettings, TrainStage
from opdlm.distill.schedules import max_tokens
from opdlm.distill.trainer import Trainer
from opdlm.errors import SettingsError
from tests.hub import serve
from tests.tree import Tree

ROOT = Path(__file__).parents[1]
NO_HUB = "http://127.0.0.1:9"


def paper() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "config/paper.yaml").read_text())


PLAN = Plan(load(paper()), ROOT / "workflow_scripts")
RUNS = list(PLAN.settings.runs)[:8]
GENERAL, MATH = RUNS[:4], RUNS[4:]


@dataclass(frozen=True)
class Resolved:
    """A run, with all that the names in it stand for."""

    run: RunSettings
    stage: TrainStage
    teacher: TeacherSettings
    init: TeacherSettings
    convert: ConvertSettings
    source: Source

    @classmethod
    def of(cls, name: str, settings: Settings = PLAN.settings) -> "Resolved":
        run = settings.runs[name]
        started_from, convert = init_parts(PLAN.run_init(name))
        return cls(
            run=run,
            stage=PLAN.train_stage(name),
            teacher=settings.teachers[run.teacher],
            init=settings.teachers[started_from],
            convert=convert,
            source=settings.prompts[run.prompts].source,
        )

    @property
    def train(self) -> Any:
        return self.stage.train


def size(teacher: TeacherSettings) -> str:
    assert teacher.source is not None
    return teacher.source.removeprefix("Qwen/Qwen3-")


Cell = Callable[[Resolved], object]

# Spec 5.8, the matrix of launchers, and 7.1 for where the data lie. A column is a run. Not here: what no setting
# expresses (evaluation during training), and what only the published programs have (ports, Weights & Biases groups).
COLUMNS = [
    "opdlm-0.6B",
    "opdlm-1.7B",
    "opdlm-4B",
    "opdlm-8B",
    "opdlm-math-4B",
    "opdlm-math-8B",
    "opdlm-math-4B-thinking",
    "opdlm-math-8B-thinking",
]
MATRIX: dict[str, tuple[Cell, list[object]]] = {
    "student init": (lambda r: size(r.init), ["0.6B", "1.7B", "4B", "8B", "4B", "8B", "4B", "8B"]),
    "teacher": (lambda r: size(r.teacher), ["0.6B", "1.7B", "4B", "8B", "4B", "8B", "4B", "8B"]),
    "dataset": (lambda r: r.source.file, ["opdlm_train.json"] * 4 + ["MATH_train_traceRL.json"] * 4),
    "its repository": (lambda r: r.source.repo, ["divelab/opdlm_train_data"] * 4 + ["divelab/opdlm_eval_data"] * 4),
    "data epochs": (lambda r: r.train.data_epochs, [1, 1, 1, 1, 10, 10, 10, 10]),
    "top_k_logits": (lambda r: r.train.divergence.top_k, [0, 0, 16, 16, 0, 0, 0, 0]),
    "max_token end": (lambda r: r.train.max_tokens.end, [4000, 4000, 4000, 4000, 2000, 2000, 8000, 8000]),
    "max_token ramp": (lambda r: r.train.max_tokens.steps, [100, 100, 100, 100, 100, 100, 200, 200]),
    "start_with_think": (lambda r: r.train.thinking, [False] * 6 + [True] * 2),
    "threshold schedule": (lambda r: r.train.threshold or "off", ["off"] * 8),
}

# The head of spec 5.8 and the defaults of 5.9, with 1.1 (conversion), 3.8 (rollout) and 5.1 (optimiser).
COMMON: dict[str, tuple[Cell, object]] = {
    "conversion is a copy": (lambda r: r.convert.mask_init, "keep"),
    "block size": (lambda r: r.convert.block_size, 4),
    "denoising steps a block": (lambda r: r.convert.block_size / r.train.decoding.tokens_per_step, 4),
    "tasks per rollout": (lambda r: r.train.prompts_per_rollout, 128),
    "max_prompt_len": (lambda r: r.stage.max_prompt_tokens, 2000),
    "remasking strategy": (lambda r: r.train.decoding.strategy, "dynamic"),
    "dynamic threshold": (lambda r: r.train.decoding.threshold, 0.9),
    "temperature": (lambda r: r.train.decoding.temperature, 1.0),
    "top_k": (lambda r: r.train.decoding.top_k, 0),
    "top_p": (lambda r: r.train.decoding.top_p, 1.0),
    "max_token start": (lambda r: r.train.max_tokens.start, 100),
    "max_token hold": (lambda r: r.train.max_tokens.hold, 0),
    "max_token type": (lambda r: r.train.max_tokens.shape, "cos"),
    "per-domain max tokens": (
        lambda r: r.train.domain_caps,
        {"math": 4096, "code": 2048, "chat": 2048, "science": 1024},
    ),
    "states from the trajectory": (lambda r: r.train.objective, "on_policy"),
    "loss type": (lambda r: r.train.divergence.kind, "kl"),
    "reverse_kl_weight": (lambda r: r.train.divergence.reverse_weight, 0.0),
    "exclude_im_end": (lambda r: r.train.end_of_answer, "exclude"),
    "effective batch": (lambda r: r.train.batch_size, 8),
    "inner epochs": (lambda r: r.train.inner_epochs, 1),
    "stop_RL_step": (lambda r: r.train.rollouts, None),
    "learning rate": (lambda r: r.train.optimiser.lr, 1e-5),
    "betas": (lambda r: (r.train.optimiser.beta1, r.train.optimiser.beta2), (0.9, 0.999)),
    "epsilon": (lambda r: r.train.optimiser.eps, 1e-8),
    "weight decay": (lambda r: r.train.optimiser.weight_decay, 0.0),
    "warmup_steps": (lambda r: r.train.optimiser.warmup_rollouts, 5),
    "min_lr_scale": (lambda r: r.train.optimiser.min_lr_scale, 0.1),
    "max_grad_norm": (lambda r: r.train.optimiser.max_grad_norm, 1.0),
    "mixed_precision": (lambda r: r.train.precision, "bf16"),
    "seed": (lambda r: r.train.seed, 10086),
    "save_every": (lambda r: r.train.save_every, 10),
    "recipe": (lambda r: r.run.recipe, "paper"),
}


def test_the_file_holds_the_eight_runs() -> None:
    assert RUNS == COLUMNS


@pytest.mark.parametrize("row", MATRIX)
def test_the_matrix_of_launchers(row: str) -> None:
    cell, published = MATRIX[row]
    assert [cell(Resolved.of(run)) for run in COLUMNS] == published


@pytest.mark.parametrize("row", COMMON)
def test_what_all_launchers_share(row: str) -> None:
    cell, published = COMMON[row]
    assert [cell(Resolved.of(run)) for run in COLUMNS] == [published] * 8


def test_a_cluster_job_has_what_a_launcher_asks_for() -> None:
    """Spec 5.8: one node of eight GPUs for 48 hours."""
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    assert profile["default-resources"]["nodes"] == 1
    assert {name: profile["set-resources"]["train"][name] for name in ("gpu", "runtime")} == {"gpu": 8, "runtime": 2880}


def trainer(run: str, prompts: int) -> Trainer:
    """As much of a trainer as its plan reads."""
    trainer = Trainer.__new__(Trainer)
    trainer.settings = PLAN.train_stage(run).train
    trainer.prompts = [None] * prompts
    return trainer


@pytest.mark.parametrize("run", GENERAL)
def test_rollouts_and_learning_rates_of_the_general_runs(run: str) -> None:
    """Spec 5.2: 61,816 prompts make 483 rollouts, 16 updates each, and a schedule of 7,729."""
    planned = trainer(run, 61_816)
    assert planned.total_rollouts == 483
    assert planned.updates_per_epoch == 16
    rates = [planned.learning_rate(update) for update in (0, 40, 80, 7729)]
    assert rates == pytest.approx([0.0, 5e-6, 1e-5, 1e-6])


@pytest.mark.parametrize("run", MATH)
def test_rollouts_of_the_runs_on_math(run: str) -> None:
    """Spec 5.5: ten epochs end after ceil(10 n / 128) rollouts, not after the 10 ceil(n / 128) of the schedule."""
    assert trainer(run, 8_000).total_rollouts == 625


@pytest.mark.parametrize("run", [*GENERAL, *MATH])
def test_wording_of_the_prompts(run: str) -> None:
    """Spec 3.1: the general prompts are worded by their domain."""
    assert Resolved.of(run).stage.prompt == WORDINGS["domain" if run in GENERAL else "math"]


@pytest.mark.parametrize(
    ("runs", "lengths"),
    [
        (GENERAL, {1: 100, 10: 148, 20: 292, 50: 1244, 80: 2796, 100: 4000, 483: 4000}),
        (MATH[:2], {50: 656, 100: 2000, 625: 2000}),
        (MATH[2:], {50: 700, 100: 2412, 150: 4976, 200: 8000, 625: 8000}),
    ],
)
def test_longest_answers(runs: list[str], lengths: dict[int, int]) -> None:
    """The values of spec 5.3."""
    for run in runs:
        chosen = Resolved.of(run)
        assert {i: max_tokens(chosen.train.max_tokens, i, chosen.convert.block_size) for i in lengths} == lengths


def test_a_revision_pins_what_is_fetched() -> None:
    raw = paper()
    pinned = {**raw["prompts"]["opdlm_train"]["source"], "revision": "v1.0"}
    raw["prompts"]["opdlm_train"]["source"] = pinned
    plan = Plan(load(raw), ROOT / "workflow_scripts")
    source = plan.settings.prompts["opdlm_train"].source
    assert plan.source_file(source) == ["results/data/hub/divelab/opdlm_train_data/v1.0/opdlm_train.json"]
    assert plan.run_state("opdlm-4B") != PLAN.run_state("opdlm-4B")
    assert plan.run_state("opdlm-math-4B") == PLAN.run_state("opdlm-math-4B")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"repo": "opdlm_train_data"}, "prompts.opdlm_train.source.repo: "),
        ({"repo": None}, "prompts.opdlm_train.source.file: set data_root"),
        ({"repo": None, "revision": "v1.0"}, "prompts.opdlm_train.source: 'revision' belongs to 'repo'"),
        ({"layout": "tiny", "task": ["TinyMath"]}, "prompts.opdlm_train.source: layout 'tiny' has no 'repo'"),
    ],
)
def test_a_wrong_source_is_named(change: dict[str, Any], message: str) -> None:
    raw = paper()
    raw["prompts"]["opdlm_train"]["source"].update(change)
    with pytest.raises(SettingsError) as caught:
        load(raw)
    assert str(caught.value).startswith(message)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """A copy of the workflow in which nothing has been built, and no hub."""
    monkeypatch.setenv("HF_ENDPOINT", NO_HUB)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    # `hf` lies beside the interpreter, which need not be on the path.
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    return Tree(tmp_path)


def test_all_eight_can_be_asked_for_without_the_hub(tree: Tree) -> None:
    targets = [f"results/models/run/{run}" for run in RUNS]
    outputs = tree.stale("--configfile", "config/paper.yaml", "--", *targets)
    assert outputs == {
        *(f"models/run/{run}" for run in RUNS),
        *(f"models/teacher/Qwen3-{size}" for size in ("0.6B", "1.7B", "4B", "8B")),
        *(f"models/init/Qwen3-{size}-b4" for size in ("0.6B", "1.7B", "4B", "8B")),
        *(f"data/prompts/{name}.jsonl" for name in ("opdlm_train", "MATH_train_traceRL")),
        "data/hub/divelab/opdlm_train_data/main/opdlm_train.json",
        "data/hub/divelab/opdlm_eval_data/main/MATH_train_traceRL.json",
    }


def test_prompts_come_from_the_hub(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = tmp_path / "published"
    published.mkdir()
    (published / "opdlm_train.json").write_text('[{"question": "1 + 1?"}]')
    fetched = "results/data/hub/divelab/opdlm_train_data/main/opdlm_train.json"
    with serve("datasets/divelab/opdlm_train_data", published) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        done = tree.snakemake("--configfile", "config/paper.yaml", "--", fetched)
    assert done.returncode == 0, done.stderr
    assert (tree.folder / fetched).read_bytes() == (published / "opdlm_train.json").read_bytes()

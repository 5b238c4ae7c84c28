"""From a whole configuration to the settings and files of every stage; the rules of the workflow ask nothing else."""

import hashlib
from functools import cache
from pathlib import Path

from pydantic import BaseModel

from opdlm.config.answers import GenerateStage
from opdlm.config.base import Strict
from opdlm.config.data import PromptSettings, RowsStage, Source
from opdlm.config.evaluation import ScoreStage
from opdlm.config.hardware import Hardware, fitting
from opdlm.config.labels import decoding_label, threshold
from opdlm.config.layout import Layout
from opdlm.config.models import ConvertSettings
from opdlm.config.prompts import WORDINGS
from opdlm.config.reporting import CurveFigure, RolloutFigure, SweepFigure, TableRow
from opdlm.config.settings import Settings, init_name, init_parts, row_benchmark
from opdlm.config.stages import (
    CellHashes,
    CellOrigin,
    CellSource,
    CurveRun,
    CurveStage,
    ReportFigure,
    ReportStage,
    ReportTable,
    RolloutStage,
    SweepPoint,
    SweepStage,
    TableLine,
    TableStage,
)
from opdlm.config.training import TrainStage, train_settings
from opdlm.files import sha256
from opdlm.identity import canonical_json, code_hash


class RunIdentity(Strict):
    """All that the weights of a student depend on."""

    stage: TrainStage
    teacher: str
    init: str
    prompts: PromptSettings
    prompts_file: str | None
    code: list[str]


class Plan:
    """What each stage is to do, and where its files lie.

    Args:
        settings: the whole configuration.
        scripts: folder of the stage scripts, whose code is part of a stage's identity.
    """

    def __init__(self, settings: Settings, scripts: Path) -> None:
        self.settings = settings
        self.layout = Layout(settings.results)
        self.scripts = scripts

    def code(self, script: str) -> str:
        """Hash of the code that a stage script runs."""
        return _code(self.scripts / script)

    def source_file(self, source: Source) -> list[str]:
        """The file that rows are read from; none if they are generated."""
        if source.file is None:
            return []
        if source.repo is not None:
            return [self.layout.hub_file(source.repo, source.revision or "main", source.file)]
        return [f"{self.settings.data_root}/{source.file}"]

    def rows_stage(self, benchmark: str) -> RowsStage:
        """Settings of the preparation of a benchmark."""
        chosen = self.settings.benchmarks[benchmark]
        return RowsStage(source=chosen.source, rows=chosen.rows)

    def train_stage(self, run: str) -> TrainStage:
        """Settings of a training."""
        chosen = self.settings.runs[run]
        prompts = self.settings.prompts[chosen.prompts]
        return TrainStage(
            train=train_settings(chosen), prompt=WORDINGS[prompts.prompt], max_prompt_tokens=prompts.max_prompt_tokens
        )

    def hardware(self, run: str, devices: int) -> Hardware:
        """How a training uses so many devices."""
        return fitting(self.settings.hardware.get(run, {}), devices)

    def run_init(self, run: str) -> str:
        """Name of the initialisation that a run starts from."""
        chosen = self.settings.runs[run]
        return init_name(chosen.base or chosen.teacher, chosen.convert)

    def run_state(self, run: str) -> str:
        """Folder of a run's checkpoints, a new one whenever anything that the weights depend on changes."""
        return self.layout.state(run, self.model_hash(f"run/{run}"))

    def init(self, name: str) -> tuple[str, ConvertSettings]:
        """Teacher and settings of a conversion."""
        return init_parts(name)

    def generate_stage(self, decoding: str, benchmark: str, seed: int, part: str) -> GenerateStage:
        """Settings of the generation of one shard; `part` reads SHARD-of-SHARDS."""
        shard, shards = map(int, part.split("-of-"))
        chosen = self.settings.benchmarks[benchmark]
        wanted = self.settings.decodings[decoding]
        if chosen.temperature is not None:
            wanted = wanted.model_copy(update={"temperature": chosen.temperature})
        return GenerateStage(
            prompt=WORDINGS[chosen.prompt],
            max_tokens=chosen.max_tokens,
            thinking=chosen.thinking,
            decoding=wanted,
            seed=seed,
            shard=shard,
            shards=shards,
        )

    def score_stage(self, benchmark: str) -> ScoreStage:
        """Settings of the scoring of a benchmark."""
        return ScoreStage(scorer=self.settings.benchmarks[benchmark].scorer)

    def shards(self, benchmark: str) -> list[tuple[int, str]]:
        """Seed and part, SHARD-of-SHARDS, of every sample file of a benchmark."""
        chosen = self.settings.benchmarks[benchmark]
        count = chosen.shard_count(self.settings.shard_tokens)
        return [(seed, f"{shard}-of-{count}") for seed in range(chosen.seeds) for shard in range(count)]

    def samples(self, model: str, decoding: str, benchmark: str) -> list[str]:
        """All sample files of a benchmark."""
        return [self.layout.sample(model, decoding, benchmark, *shard) for shard in self.shards(benchmark)]

    def scores(self, model: str, decoding: str, benchmark: str) -> list[str]:
        """All score files of a benchmark, in the order of its sample files."""
        return [self.layout.score(model, decoding, benchmark, *shard) for shard in self.shards(benchmark)]

    def model_hash(self, model: str) -> str:
        """Hash over the settings and code that lead to a model."""
        kind, name = model.split("/")
        if kind == "teacher":
            script = "fetch_teacher.py" if self.settings.teachers[name].source else "pretrain_teacher.py"
            return _hash(self.settings.teachers[name], self.code(script))
        if kind == "init":
            teacher, convert = init_parts(name)
            return _hash(convert, self.model_hash(f"teacher/{teacher}"), self.code("convert.py"))
        return _hash(self._run_identity(name))

    def _run_identity(self, run: str) -> RunIdentity:
        chosen = self.settings.runs[run]
        prompts = self.settings.prompts[chosen.prompts]
        # A file of the hub is not here yet; its revision, one of the prompts' settings, stands for it.
        file = [] if prompts.source.repo else self.source_file(prompts.source)
        return RunIdentity(
            stage=self.train_stage(run),
            teacher=self.model_hash(f"teacher/{chosen.teacher}"),
            init=self.model_hash(f"init/{self.run_init(run)}"),
            prompts=prompts,
            prompts_file=_digest(file[0]) if file else None,
            code=[self.code("prepare_prompts.py"), self.code("train.py")],
        )

    def table(self, name: str) -> TableStage:
        """What a table is made of."""
        chosen = self.settings.tables[name]
        lines = [
            TableLine(
                label=row.label,
                model=row.model,
                decoding=row.decoding,
                paper_row=row.paper_row,
                cells=[self._cell(row, benchmark) for benchmark in chosen.benchmarks],
            )
            for row in chosen.rows
        ]
        return TableStage(title=chosen.title, paper_table=chosen.paper_table, lines=lines)

    def _cell(self, row: TableRow, column: str) -> CellSource:
        heading = self.settings.benchmarks[column].paper_column or column
        if row.model is None or row.decoding is None:
            return CellSource(column=heading, origin=None, missing=row.not_run)
        if row.only and column not in row.only:
            return CellSource(column=heading, origin=None, missing="not part of this row")
        benchmark = row_benchmark(row, column, self.settings.benchmarks)
        return CellSource(column=heading, origin=self._origin(row.model, row.decoding, benchmark), missing=None)

    def _origin(self, model: str, decoding: str, benchmark: str) -> CellOrigin:
        shards = self.shards(benchmark)
        return CellOrigin(
            benchmark=benchmark,
            merged=self.layout.merged(model, decoding, benchmark),
            samples=self.samples(model, decoding, benchmark),
            costs=[self.layout.cost(model, decoding, benchmark, *shard) for shard in shards],
            logs=[self.layout.log("generate", f"{model}/{decoding}/{benchmark}/{x}/{y}") for x, y in shards],
            training=f"{self.layout.model(model)}/cost.json" if model.startswith("run/") else None,
            hashes=CellHashes(
                rows=_hash(self.rows_stage(benchmark), self.code("prepare_benchmark.py")),
                model=self.model_hash(model),
                generate=_hash(self.generate_stage(decoding, benchmark, *shards[0]), self.code("generate.py")),
                score=_hash(self.score_stage(benchmark), self.code("score.py")),
            ),
        )

    def sweep(self, name: str) -> SweepStage:
        """What a figure of accuracy against tokens per step is made of."""
        chosen = self.settings.figures[name]
        assert isinstance(chosen, SweepFigure)
        points = [
            SweepPoint(
                series=label,
                decoding=decoding_label(self.settings.decodings[decoding]),
                threshold=threshold(self.settings.decodings[decoding]),
                block_size=self.block_size(model),
                benchmark=benchmark,
                merged=self.layout.merged(model, decoding, benchmark),
            )
            for benchmark in chosen.benchmarks
            for label, model in chosen.models.items()
            for decoding in chosen.decodings
        ]
        return SweepStage(
            title=chosen.title, across=chosen.across, paper=chosen.paper, benchmarks=chosen.benchmarks, points=points
        )

    def size_of(self, model: str) -> str:
        """The teacher that a model has its shape from."""
        kind, name = model.split("/")
        if kind == "run":
            return self.settings.runs[name].base or self.settings.runs[name].teacher
        return name if kind == "teacher" else self.init(name)[0]

    def block_size(self, model: str) -> int:
        """Tokens of a block of a conversion or a student."""
        kind, name = model.split("/")
        return self.init(self.run_init(name) if kind == "run" else name)[1].block_size

    def curves(self, name: str) -> CurveStage:
        """What a figure of training curves is made of."""
        chosen = self.settings.figures[name]
        assert isinstance(chosen, CurveFigure)
        runs = [self._curve_run(run) for run in chosen.runs]
        return CurveStage(title=chosen.title, runs=runs, curves=chosen.curves, paper=chosen.paper)

    def run_curves(self, run: str) -> CurveStage:
        """What the figure of one run's training is made of."""
        return CurveStage(title=f"Training of {run}", runs=[self._curve_run(run)], curves=[], paper=False)

    def _curve_run(self, run: str) -> CurveRun:
        return CurveRun(
            name=run, folder=self.layout.model(f"run/{run}"), block_size=self.settings.runs[run].convert.block_size
        )

    def rollout(self, name: str) -> RolloutStage:
        """What a figure of decoding speed is made of."""
        chosen = self.settings.figures[name]
        assert isinstance(chosen, RolloutFigure)
        return RolloutStage(title=chosen.title, file=chosen.file)

    def chosen(self) -> tuple[list[str], list[str]]:
        """Tables and figures that `all` names, or every one."""
        names = self.settings.all or [*self.settings.tables, *self.settings.figures]
        tables, figures = self.settings.tables, self.settings.figures
        return [name for name in names if name in tables], [name for name in names if name in figures]

    def targets(self) -> list[str]:
        """The final outputs: the chosen tables and figures, and the page that shows them."""
        tables, figures = self.chosen()
        return [*map(self.layout.table, tables), *map(self.layout.figure, figures), self.layout.report]

    def report(self) -> ReportStage:
        """What the report page is made of."""
        names, chosen = self.chosen()
        tables = [ReportTable(name=name, json_file=self.layout.table(name, "json")) for name in names]
        figures = {name: self.settings.figures[name] for name in chosen}
        shown = [
            ReportFigure(name=name, title=figure.title, kind=figure.kind, svg=self.layout.figure(name))
            for name, figure in figures.items()
        ]
        runs = [run for figure in figures.values() if isinstance(figure, CurveFigure) for run in figure.runs]
        for run in dict.fromkeys(runs):
            name = f"training/{run}"
            shown.append(ReportFigure(name=name, title=f"Training of {run}", kind="run", svg=self.layout.figure(name)))
        return ReportStage(title=self.settings.title, tables=tables, figures=shown)


@cache
def _code(script: Path) -> str:
    return code_hash(script)


@cache
def _digest(file: str) -> str:
    return sha256(Path(file))


def _hash(settings: BaseModel, *more: str) -> str:
    return hashlib.sha256("\n".join([canonical_json(settings), *more]).encode()).hexdigest()[:12]

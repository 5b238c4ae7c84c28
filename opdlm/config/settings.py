"""A whole configuration file, checked before any job starts."""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from opdlm.config.base import Name, Strict, explained
from opdlm.config.data import PromptSettings
from opdlm.config.decoding import DecodingSettings
from opdlm.config.evaluation import BenchmarkSettings
from opdlm.config.expected import Expected
from opdlm.config.hardware import Memory
from opdlm.config.models import ConvertSettings, TeacherSettings
from opdlm.config.reporting import CurveFigure, RolloutFigure, SweepFigure, TableRow, TableSettings
from opdlm.config.training import RunSettings, train_settings
from opdlm.errors import SettingsError


class Settings(Strict):
    """A whole configuration file."""

    title: str = Field(default="OPDLM", description="heading of the report page")
    results: str = Field(default="results", min_length=1, description="folder that everything is written to")
    data_root: str | None = Field(default=None, description="folder that file sources are relative to")
    teachers: dict[Name, TeacherSettings]
    prompts: dict[Name, PromptSettings]
    runs: dict[Name, RunSettings]
    hardware: dict[Name, dict[Annotated[int, Field(gt=0)], Memory]] = Field(
        default={}, description="by run and number of devices (the largest not above the job's) how memory is used"
    )
    decodings: dict[Name, DecodingSettings]
    benchmarks: dict[Name, BenchmarkSettings]
    shard_tokens: int | None = Field(
        default=None, gt=0, description="tokens that one generation job writes, about; null: a job writes a seed"
    )
    unsafe_programs: bool = Field(
        default=False, description="where there is no sandbox, run the programs of answers without one"
    )
    expected: Expected = Expected()
    tables: dict[Name, TableSettings] = {}
    figures: dict[Name, Annotated[SweepFigure | CurveFigure | RolloutFigure, Field(discriminator="kind")]] = {}
    all: list[str] = Field(
        default=[], description="tables and figures that the target `all` builds; every one if empty"
    )


def load(raw: dict[str, Any]) -> Settings:
    """Validate a whole configuration.

    Raises:
        SettingsError: an unknown key, a wrong type or value, a name that nothing defines, or a missing file;
            the message holds the key's path.
    """
    try:
        settings = Settings.model_validate(raw)
        for name, run in settings.runs.items():
            _validated_train(name, run)
    except ValidationError as error:
        raise SettingsError(explained(error, raw)) from None
    _check_spelling(settings)
    _check_names(settings)
    _check_rows(settings)
    _check_files(settings)
    return settings


def init_name(teacher: Name, convert: ConvertSettings) -> str:
    """Name of a teacher's conversion: TEACHER-bBLOCKSIZE, and `-mean` if its mask row is the mean row."""
    return f"{teacher}-b{convert.block_size}{'-mean' if convert.mask_init == 'mean' else ''}"


def init_parts(name: str) -> tuple[Name, ConvertSettings]:
    """The inverse of `init_name`.

    Raises:
        SettingsError: there is no such name.
    """
    parts = re.fullmatch(r"(.+)-b([1-9]\d*)(-mean)?", name)
    if parts is None:
        raise SettingsError(f"'init/{name}' should read init/TEACHER-bBLOCKSIZE, for example init/tiny-b4")
    return parts[1], ConvertSettings(block_size=int(parts[2]), mask_init="mean" if parts[3] else "keep")


def _validated_train(name: Name, run: RunSettings) -> None:
    try:
        train_settings(run)
    except ValidationError as error:
        raise SettingsError(f"runs.{name}.train.{explained(error, dict(run.train))}") from None


def _check_spelling(settings: Settings) -> None:
    for section in ("teachers", "prompts", "runs", "decodings", "benchmarks", "tables", "figures"):
        for name in getattr(settings, section):
            if not re.fullmatch(r"[\w-][\w.-]*", name, flags=re.ASCII):
                raise SettingsError(f"{section}.{name}: names are parts of paths: letters, digits, '-', '_', '.'")


def _check_names(settings: Settings) -> None:
    for name, run in settings.runs.items():
        _known(f"runs.{name}.teacher", run.teacher, settings.teachers)
        _known(f"runs.{name}.prompts", run.prompts, settings.prompts)
        if run.base is not None:
            _known(f"runs.{name}.base", run.base, settings.teachers)
    for name in settings.hardware:
        _known(f"hardware.{name}", name, settings.runs)
    _check_tables(settings)
    _check_figures(settings)
    for name in settings.expected.tokens_per_second:
        _known(f"expected.tokens_per_second.{name}", name, settings.teachers)
    for name in settings.expected.gpu_hours:
        _known(f"expected.gpu_hours.{name}", name, settings.runs)
    for index, target in enumerate(settings.all):
        _known(f"all.{index}", target, {**settings.tables, **settings.figures})


def _check_tables(settings: Settings) -> None:
    for name, table in settings.tables.items():
        for index, row in enumerate(table.rows):
            key = f"tables.{name}.rows.{index}"
            if row.model is not None and row.decoding is not None:
                _check_model(f"{key}.model", row.model, settings)
                _known(f"{key}.decoding", row.decoding, settings.decodings)
            taken = [row_benchmark(row, column, settings.benchmarks) for column in table.benchmarks]
            if row.variants and taken == table.benchmarks:
                raise SettingsError(f"{key}.variants: no benchmark of the table has one of {', '.join(row.variants)}")
            for column in row.only:
                _known(f"{key}.only", column, dict.fromkeys(table.benchmarks))
        for index, benchmark in enumerate(table.benchmarks):
            _known(f"tables.{name}.benchmarks.{index}", benchmark, settings.benchmarks)


def row_benchmark(row: TableRow, column: Name, benchmarks: Mapping[Name, Any]) -> Name:
    """The benchmark of a table's cell: the column's, or the first of its variants that the row asks for."""
    return next((name for variant in row.variants if (name := f"{column}-{variant}") in benchmarks), column)


def _check_figures(settings: Settings) -> None:
    for name, figure in settings.figures.items():
        if isinstance(figure, CurveFigure):
            for index, run_name in enumerate(figure.runs):
                _known(f"figures.{name}.runs.{index}", run_name, settings.runs)
        elif isinstance(figure, SweepFigure):
            for label, model in figure.models.items():
                if model.startswith("teacher/"):
                    raise SettingsError(
                        f"figures.{name}.models.{label}: a sweep shows init/... or run/..., not {model}"
                    )
                _check_model(f"figures.{name}.models.{label}", model, settings)
            for index, decoding in enumerate(figure.decodings):
                _known(f"figures.{name}.decodings.{index}", decoding, settings.decodings)
            for index, benchmark in enumerate(figure.benchmarks):
                _known(f"figures.{name}.benchmarks.{index}", benchmark, settings.benchmarks)


def _check_model(key: str, model: str, settings: Settings) -> None:
    kind, name = model.split("/")
    if kind == "init":
        try:
            teacher, _ = init_parts(name)
        except SettingsError as error:
            raise SettingsError(f"{key}: {error}") from None
        _known(key, teacher, settings.teachers)
    else:
        _known(key, name, settings.teachers if kind == "teacher" else settings.runs)


def _known(key: str, name: str, names: dict[str, Any]) -> None:
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise SettingsError(f"{key}: '{name}' is not defined (known: {', '.join(sorted(names)) or 'none'}){hint}")


def _check_rows(settings: Settings) -> None:
    for key, chosen in {**_keyed("prompts", settings.prompts), **_keyed("benchmarks", settings.benchmarks)}.items():
        if chosen.source.layout == "tiny" and chosen.rows is None:
            raise SettingsError(f"{key}.rows: layout 'tiny' generates rows and needs to know how many")
    for key, benchmark in _keyed("benchmarks", settings.benchmarks).items():
        if benchmark.rows and benchmark.shards and benchmark.shards > benchmark.rows:
            raise SettingsError(f"{key}.shards: {benchmark.shards} shards, but only {benchmark.rows} rows")


def _keyed(section: str, entries: dict[Name, Any]) -> dict[str, Any]:
    return {f"{section}.{name}": entry for name, entry in entries.items()}


def _check_files(settings: Settings) -> None:
    for key, chosen in {**_keyed("prompts", settings.prompts), **_keyed("benchmarks", settings.benchmarks)}.items():
        source = chosen.source
        if source.file is not None and source.repo is None:
            if settings.data_root is None:
                raise SettingsError(f"{key}.source.file: set data_root, the folder that '{source.file}' lies in")
            if not (Path(settings.data_root) / source.file).is_file():
                raise SettingsError(f"{key}.source.file: {Path(settings.data_root) / source.file} does not exist")

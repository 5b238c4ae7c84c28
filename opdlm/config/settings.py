"""A whole configuration file, checked before any job starts."""

import difflib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from opdlm.config.base import Name, Strict, explained
from opdlm.config.data import PromptSettings
from opdlm.config.decoding import DecodingSettings
from opdlm.config.evaluation import BenchmarkSettings
from opdlm.config.models import TeacherSettings
from opdlm.config.reporting import CurveFigure, SweepFigure, TableSettings
from opdlm.config.training import RunSettings, train_settings
from opdlm.errors import SettingsError


class Settings(Strict):
    """A whole configuration file."""

    data_root: str | None = Field(default=None, description="folder that file sources are relative to")
    teachers: dict[Name, TeacherSettings]
    prompts: dict[Name, PromptSettings]
    runs: dict[Name, RunSettings]
    decodings: dict[Name, DecodingSettings]
    benchmarks: dict[Name, BenchmarkSettings]
    tables: dict[Name, TableSettings] = {}
    figures: dict[Name, SweepFigure | CurveFigure] = {}
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
    _check_names(settings)
    _check_files(settings)
    return settings


def _validated_train(name: Name, run: RunSettings) -> None:
    try:
        train_settings(run)
    except ValidationError as error:
        raise SettingsError(f"runs.{name}.train.{explained(error, dict(run.train))}") from None


def _check_names(settings: Settings) -> None:
    for name, run in settings.runs.items():
        _known(f"runs.{name}.teacher", run.teacher, settings.teachers)
        _known(f"runs.{name}.prompts", run.prompts, settings.prompts)
    for name, table in settings.tables.items():
        for index, row in enumerate(table.rows):
            _check_model(f"tables.{name}.rows.{index}.model", row.model, settings)
            _known(f"tables.{name}.rows.{index}.decoding", row.decoding, settings.decodings)
        for index, benchmark in enumerate(table.benchmarks):
            _known(f"tables.{name}.benchmarks.{index}", benchmark, settings.benchmarks)
    for name, figure in settings.figures.items():
        if isinstance(figure, CurveFigure):
            for index, run_name in enumerate(figure.runs):
                _known(f"figures.{name}.runs.{index}", run_name, settings.runs)
        else:
            _check_model(f"figures.{name}.model", figure.model, settings)
            for index, decoding in enumerate(figure.decodings):
                _known(f"figures.{name}.decodings.{index}", decoding, settings.decodings)
            for index, benchmark in enumerate(figure.benchmarks):
                _known(f"figures.{name}.benchmarks.{index}", benchmark, settings.benchmarks)
    for index, target in enumerate(settings.all):
        _known(f"all.{index}", target, {**settings.tables, **settings.figures})


def _check_model(key: str, model: str, settings: Settings) -> None:
    kind, name = model.split("/")
    if kind == "init":
        teacher, _, block = name.rpartition("-b")
        if not block.isdigit() or int(block) < 1:
            raise SettingsError(f"{key}: '{model}' should read init/TEACHER-bBLOCKSIZE, for example init/tiny-b4")
        _known(key, teacher, settings.teachers)
    else:
        _known(key, name, settings.teachers if kind == "teacher" else settings.runs)


def _known(key: str, name: str, names: dict[str, Any]) -> None:
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise SettingsError(f"{key}: '{name}' is not defined (known: {', '.join(sorted(names)) or 'none'}){hint}")


def _check_files(settings: Settings) -> None:
    sources = {f"prompts.{name}": prompts.source for name, prompts in settings.prompts.items()}
    sources |= {f"benchmarks.{name}": benchmark.source for name, benchmark in settings.benchmarks.items()}
    for key, source in sources.items():
        if source.file is not None:
            if settings.data_root is None:
                raise SettingsError(f"{key}.source.file: set data_root, the folder that '{source.file}' lies in")
            if not (Path(settings.data_root) / source.file).is_file():
                raise SettingsError(f"{key}.source.file: {Path(settings.data_root) / source.file} does not exist")

"""One benchmark of a configuration, without the rest of it."""

from pathlib import Path

import yaml
from pydantic import ValidationError

from opdlm.config.base import explained
from opdlm.config.evaluation import BenchmarkSettings
from opdlm.errors import SettingsError


def registered(file: Path, name: str) -> BenchmarkSettings:
    """The benchmark `name` of a configuration file.

    Raises:
        SettingsError: the file cannot be read, or has no such benchmark, or a wrong one.
    """
    try:
        raw = yaml.safe_load(file.read_text())
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{file} is not YAML: {error}") from None
    benchmarks = raw.get("benchmarks") if isinstance(raw, dict) else None
    if not isinstance(benchmarks, dict) or name not in benchmarks:
        known = ", ".join(sorted(benchmarks)) if isinstance(benchmarks, dict) else "none"
        raise SettingsError(f"{file} has no benchmark '{name}'; it has {known}")
    try:
        return BenchmarkSettings.model_validate(benchmarks[name])
    except ValidationError as error:
        raise SettingsError(f"{file}, benchmarks.{name}: {explained(error, benchmarks[name])}") from None

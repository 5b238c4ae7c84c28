"""What all settings share: strictness, and messages that name the offending key."""

import difflib
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from opdlm.errors import SettingsError

Name = str


class Strict(BaseModel):
    """Base of all settings: unknown keys and silent type changes are refused; instances do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


S = TypeVar("S", bound=Strict)


def from_json(model: type[S], text: str) -> S:
    """Read the settings of one stage back from the JSON text it was handed.

    Raises:
        SettingsError: the text does not fit `model`.
    """
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise SettingsError(explained(error, {})) from None


def explained(error: ValidationError, raw: Any) -> str:
    """The first problem as `path.to.key: what is wrong`, with the nearest known key for a typo."""
    # A misspelt key shows as an unknown and often also as a missing one; the unknown one says more.
    first = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    path = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = f"unknown key{_suggestion(str(first['loc'][-1]))}"
    elif first["type"] == "missing":
        message = "this key is missing"
    elif first["type"] not in ("value_error",):
        message = f"{message} (got {first['input']!r})"
    return f"{path}: {message}" if path else message


def _suggestion(key: str) -> str:
    known = {name for model in _all_models(Strict) for name in model.model_fields}
    close = difflib.get_close_matches(key, known - {key}, n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _all_models(model: type[Strict]) -> list[type[Strict]]:
    return [child for direct in model.__subclasses__() for child in (direct, *_all_models(direct))]

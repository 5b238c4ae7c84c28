"""Reading the records that reports are made of, and which code made them."""

import subprocess
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from opdlm.errors import DataError
from opdlm.files import read_json
from opdlm.verdicts import Merged

Model = TypeVar("Model", bound=BaseModel)


def read_record(file: Path, model: type[Model]) -> Model:
    """Read a JSON file that holds one record.

    Raises:
        DataError: the file is missing or malformed.
    """
    try:
        return model.model_validate(read_json(file))
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def read_merged(file: Path) -> Merged:
    """Read one benchmark's result.

    Raises:
        DataError: the file is missing or malformed.
    """
    return read_record(file, Merged)


def git_version(folder: Path) -> str | None:
    """Commit of the working tree that holds `folder`, with `-dirty` if it was changed; none outside a repository."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()

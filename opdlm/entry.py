"""What the stage scripts share: their first argument, and how they end on an error."""

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from opdlm.errors import OpdlmError


def stage_parser(description: str | None, *paths: str) -> argparse.ArgumentParser:
    """A parser with `--settings` (the stage's settings as JSON) and one required path option for each of `paths`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--settings", required=True, help="the stage's settings as one JSON text")
    for name in paths:
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser


def run(main: Callable[[], None]) -> None:
    """Print the command (so that a log opens with it) and call `main`; a foreseen error ends in one line, status 1."""
    print("$ python", shlex.join(sys.argv), flush=True)
    try:
        main()
    except OpdlmError as error:
        sys.exit(f"error: {error}")

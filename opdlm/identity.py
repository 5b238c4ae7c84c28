"""What a stage's result depends on: the settings handed to it, and the code that it runs.

The settings are a canonical JSON text (a stage can read nothing else). The code is a hash over the syntax trees of the
entry script and of every `opdlm` module it imports, directly or not, without comments, blank lines and docstrings.
"""

import ast
import hashlib
import json
from functools import cache
from pathlib import Path

from pydantic import BaseModel

PACKAGE_ROOT = Path(__file__).parent


def canonical_json(settings: BaseModel) -> str:
    """The settings as one line of JSON with sorted keys: equal settings give equal text."""
    return json.dumps(settings.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def settings_hash(settings: BaseModel) -> str:
    """Twelve hex digits that change when and only when a setting changes."""
    return hashlib.sha256(canonical_json(settings).encode()).hexdigest()[:12]


def code_hash(script: Path) -> str:
    """Twelve hex digits over `script` and all the `opdlm` modules it reaches through imports."""
    digest = hashlib.sha256()
    for file in sorted(reached_files(Path(script)), key=str):
        digest.update(_tree_text(file).encode())
    return digest.hexdigest()[:12]


def reached_files(script: Path) -> set[Path]:
    """`script` and every file of the package that importing it would load."""
    reached: set[Path] = set()
    waiting = [script]
    while waiting:
        file = waiting.pop()
        if file not in reached:
            reached.add(file)
            waiting.extend(_imported_files(file))
    return reached


@cache
def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


@cache
def _tree_text(file: Path) -> str:
    tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)


@cache
def _imported_files(file: Path) -> tuple[Path, ...]:
    names: set[str] = set()
    for node in ast.walk(_parsed(file)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(sorted(path for name in names for path in _module_files(name)))


def _module_files(name: str) -> list[Path]:
    """Files loaded by importing `name`: the module itself and the packages above it; none if it is not ours."""
    parts = name.split(".")
    if parts[0] != PACKAGE_ROOT.name:
        return []
    files = [PACKAGE_ROOT.joinpath(*parts[1:depth], "__init__.py") for depth in range(1, len(parts) + 1)]
    files.append(PACKAGE_ROOT.joinpath(*parts[1:]).with_suffix(".py") if parts[1:] else files[0])
    return [file for file in files if file.is_file()]

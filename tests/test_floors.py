"""Imports point downwards only, and rooms of one floor do not import each other (docs/design.md).

Floors 0 and 5 are exceptions: their modules are no rooms, and files explain their errors, scripts share their start.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = {
    "opdlm": 0,
    "opdlm.errors": 0,
    "opdlm.files": 0,
    "opdlm.identity": 0,
    "opdlm.processes": 0,
    "opdlm.records": 0,
    "opdlm.blocks": 1,
    "opdlm.chat": 1,
    "opdlm.config": 1,
    "opdlm.verdicts": 1,
    "opdlm.model": 2,
    "opdlm.data": 2,
    "opdlm.decode": 3,
    "opdlm.distill": 4,
    "opdlm.evaluate": 4,
    "opdlm.reporting": 4,
    "opdlm.terminal": 4,
    "opdlm.cli": 5,
    "opdlm.devices": 5,
    "opdlm.entry": 5,
}
SCRIPTS = 5
SOURCES = [*sorted((ROOT / "opdlm").rglob("*.py")), *sorted((ROOT / "workflow_scripts").glob("*.py"))]


def room(module: str) -> str:
    """The room of a module: the package or module right below `opdlm`."""
    return ".".join(module.split(".")[:2])


def own_room(source: Path) -> str:
    path = source.relative_to(ROOT).with_suffix("")
    return room(".".join(path.parts)).removesuffix(".__init__")


def imported_rooms(source: Path) -> set[str]:
    """Rooms that a file imports, at its top or inside a function. `from opdlm import x` is the module x or a name."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}, line {node.lineno}: a relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            modules.update(name if room(name) in FLOORS else str(node.module) for name in names)
    return {room(module) for module in modules if module.split(".")[0] == "opdlm"}


def test_every_file_has_a_floor() -> None:
    rooms = {own_room(source) for source in SOURCES if source.is_relative_to(ROOT / "opdlm")}
    assert rooms == set(FLOORS)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source.relative_to(ROOT)))
def test_imports_point_downwards(source: Path) -> None:
    own = own_room(source)
    floor = FLOORS.get(own, SCRIPTS)
    for other in imported_rooms(source) - {own, "opdlm"}:
        assert other in FLOORS, f"{other} has no floor"
        allowed = FLOORS[other] < floor or {floor, FLOORS[other]} in ({0}, {SCRIPTS})
        assert allowed, f"{own} (floor {floor}) imports {other}"

"""What the tests of the benchmarks share: the modules in `benchmarks/`, and where they run."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

CPU = torch.device("cpu")


class Benchmarks:
    """The modules in `benchmarks/`, as its scripts see each other."""

    def __getattr__(self, name: str) -> ModuleType:
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def modules() -> Iterator[Benchmarks]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
        yield Benchmarks()


@pytest.fixture(scope="module")
def floors(modules: Benchmarks) -> ModuleType:
    return modules.floors

"""OPDLM: on-policy distillation of block-diffusion language models (arXiv 2606.06712).

After `import opdlm`, transformers' `AutoModelForCausalLM` loads our model folders, whichever of the two was imported
first. Importing transformers here would cost every script several seconds and make scoring depend on torch, so our
classes join its auto classes when these are loaded, which may be never.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

__version__ = "0.1.0"

AUTO_CLASSES = "transformers.models.auto.modeling_auto"
OUR_CLASSES = "opdlm.model.hf"


class _AutoClassesLoader(SourceFileLoader):
    """Loads transformers' auto classes as usual, then adds ours to them."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        import_module(OUR_CLASSES)


class _AutoClassesFinder(MetaPathFinder):
    """Gives transformers' auto classes the loader above, and leaves every other module alone."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name == AUTO_CLASSES else None
        if spec is not None and spec.origin is not None:
            spec.loader = _AutoClassesLoader(name, spec.origin)
        return spec


if AUTO_CLASSES in sys.modules:
    import_module(OUR_CLASSES)
else:
    sys.meta_path.insert(0, _AutoClassesFinder())

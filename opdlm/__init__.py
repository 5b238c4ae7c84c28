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

OUR_CLASSES = "opdlm.model.hf"
WATCHED = (
    "transformers.models.auto.modeling_auto",
    "transformers.modeling_layers",
    "transformers.models.qwen3.modeling_qwen3",
)
"""What our classes are made of. The three import each other, in an order that depends on what is asked for first; the
one that is finished last brings ours."""


class _Loader(SourceFileLoader):
    """Loads one of the watched modules as usual, then our classes if the other two are not half-way."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        others = [sys.modules[name] for name in WATCHED if name in sys.modules and name != module.__name__]
        if not any(getattr(other.__spec__, "_initializing", False) for other in others):
            import_module(OUR_CLASSES)


class _Finder(MetaPathFinder):
    """Gives the watched modules the loader above, and leaves every other module alone."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name in WATCHED else None
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(name, spec.origin)
        return spec


if WATCHED[0] in sys.modules:
    import_module(OUR_CLASSES)
else:
    sys.meta_path.insert(0, _Finder())

"""What the model cards of this project have in common; a training writes one as well as a push."""

from collections.abc import Iterable
from typing import Any

from huggingface_hub import ModelCardData

from opdlm import __version__

CARD_FILE = "README.md"
CARD = """\
---
{metadata}
---

# {name}

{kind} language model, made with OPDLM {version} ([arXiv 2606.06712](https://arxiv.org/abs/2606.06712)).

| | |
|---|---|
{facts}

## Loading

"""
LOAD_OURS = """\
```python
import opdlm  # brings the model's class
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{repo}")
tokenizer = AutoTokenizer.from_pretrained("{repo}")
```
"""
UNSHIFTED = "\nAttention is open inside blocks, and logits are unshifted: row i predicts the token at i.\n"


def opening(name: str, kind: str, base: str | None, facts: Iterable[tuple[str, str]]) -> str:
    """A card down to the heading `Loading`.

    Args:
        name: of the model.
        kind: block-diffusion or autoregressive.
        base: the hub's id of the model that it was made from.
        facts: rows of the table.
    """
    metadata = ModelCardData(
        library_name="transformers", pipeline_tag="text-generation", base_model=base, tags=["opdlm", kind]
    )
    rows = "\n".join(table_row(*fact) for fact in facts)
    return CARD.format(metadata=metadata.to_yaml(), name=name, kind=kind.capitalize(), version=__version__, facts=rows)


def table_row(name: str, value: str) -> str:
    """A row of a Markdown table; a bar ends a cell, even in code, unless it is escaped."""
    return f"| {name} | " + value.replace("|", "\\|") + " |"


def base_model(config: dict[str, Any]) -> str | None:
    """The hub's id of the model that this one was made from, if its `config.json` has one."""
    name = config.get("_name_or_path") or ""
    return name if name.count("/") == 1 and not name.startswith(("/", ".")) else None

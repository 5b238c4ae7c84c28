"""Chat turns out of a row and a wording (the texts are in `opdlm/config/prompts.py`)."""

from opdlm.chat import Message
from opdlm.config.wording import Turn, Wording
from opdlm.data.rows import Row


def messages(row: Row, wording: Wording) -> list[Message]:
    """The chat turns that put a row's question."""
    return [Message(role=turn.role, content=_filled(turn.text, row.question)) for turn in _turns(row, wording)]


def _turns(row: Row, wording: Wording) -> list[Turn]:
    for language, turns in wording.by_language.items():
        if (row.subdivision or "").endswith(language):
            return turns
    return wording.by_domain.get(row.domain or "", wording.turns)


def _filled(text: str, question: str) -> str:
    # Not `format`: mathematics is full of braces. The question comes last, so that its own braces stay.
    return (
        text.replace("{stripped}", question.strip()) if "{stripped}" in text else text.replace("{question}", question)
    )

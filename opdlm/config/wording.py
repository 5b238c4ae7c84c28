"""How a question is put to a model: part of the settings of the stages that put it, so that no other one reruns."""

from typing import Literal

from opdlm.config.base import Strict


class Turn(Strict):
    """One turn of a chat. `{question}` stands for the question, `{stripped}` for it without space around it."""

    role: Literal["system", "user", "assistant"]
    text: str


class Wording(Strict):
    """The turns that put a question. If the last one is the assistant's, it is a beginning to go on from."""

    turns: list[Turn]
    by_domain: dict[str, list[Turn]] = {}
    """Other turns for rows of a domain; "" are those that name none."""
    by_language: dict[str, list[Turn]] = {}
    """Other turns for rows whose subdivision ends like this."""


PLAIN = Wording(turns=[Turn(role="user", text="{question}")])

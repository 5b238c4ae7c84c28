"""The one place where prompts are worded (spec 3.1, 6.1 and 6.3)."""

from opdlm.chat import Message
from opdlm.config.data import PromptKind
from opdlm.data.rows import Row

MATH = "\nPlease reason step by step, and put your final answer within \\boxed{}."
CHOICE = '\nPlease show your choice in the answer field with only the choice letter, e.g., "answer": "C".'
HUMANEVAL_USER = (
    "Please provide a self-contained Python script that solves the following problem in a markdown code block:"
)
HUMANEVAL_ASSISTANT = (
    "Below is a Python script with a self-contained function that solves the problem and passes corresponding tests:"
)
BY_DOMAIN: dict[str, PromptKind] = {"math": "math", "science": "choice"}
"""Wording of training prompts; code and chat are put as they are, and a row without a domain is mathematics."""


def messages(row: Row, kind: PromptKind) -> list[Message]:
    """The chat turns that put a row's question.

    With `humaneval` the last turn is the assistant's: a prefill that ends inside an opened code fence, for the model
    to go on from. With `domain` the row's own domain decides. The options of a multiple-choice question are part of the
    question.
    """
    if kind == "domain":
        kind = BY_DOMAIN.get(row.domain or "math", "raw")
    if kind == "humaneval":
        return [
            Message(role="user", content=f"{HUMANEVAL_USER}\n```\n{row.question.strip()}\n```\n"),
            Message(role="assistant", content=f"{HUMANEVAL_ASSISTANT}\n```python\n"),
        ]
    endings: dict[PromptKind, str] = {"raw": "", "math": MATH, "choice": CHOICE}
    return [Message(role="user", content=row.question + endings[kind])]

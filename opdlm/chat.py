"""Between messages and token ids: chat templates, stop tokens, and the text that people and scorers see."""

from typing import Protocol, TypedDict

THINK_END = "</think>"


class Message(TypedDict):
    """One turn of a chat."""

    role: str
    content: str


class Tokenizer(Protocol):
    """What we use of a Hugging Face tokenizer."""

    eos_token_id: int
    all_special_tokens: list[str]

    def apply_chat_template(self, messages: list[Message], **options: object) -> str: ...

    def encode(self, text: str, **options: object) -> list[int]: ...

    def decode(self, ids: list[int], **options: object) -> str: ...

    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int | None]: ...

    def __len__(self) -> int: ...


def render(tokenizer: Tokenizer, messages: list[Message], thinking: bool) -> list[int]:
    """Token ids of a prompt.

    A last turn by the assistant is a prefill: the model goes on from its last character (spec 6.3). The template's
    own trailing end token is cut off for that, so no marker has to be searched for in the text.
    """
    prefill = messages[-1]["content"] if messages[-1]["role"] == "assistant" else ""
    turns = messages[:-1] if prefill else messages
    text = tokenizer.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=True, enable_thinking=thinking and not prefill
    )
    return tokenizer.encode(text + prefill, add_special_tokens=False)


def stop_ids(tokenizer: Tokenizer) -> list[int]:
    """Tokens that end an answer: the end of turn, and the end of text (spec 8.1 D17)."""
    unknown = getattr(tokenizer, "unk_token_id", None)
    found = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    return sorted({tokenizer.eos_token_id, *(token for token in found if token is not None and token != unknown)})


def answer_text(tokenizer: Tokenizer, ids: list[int]) -> str:
    """The answer as a scorer sees it: no special tokens, nothing of the thinking part."""
    text = tokenizer.decode(ids, skip_special_tokens=True)
    return text.rpartition(THINK_END)[2].strip("\n") if THINK_END in text else text

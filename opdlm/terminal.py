"""A chat in the terminal that shows blocks as they unmask: finished blocks as text, the current one with its masks."""

from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import torch

from opdlm.chat import Message, Tokenizer, answer_text, render, stop_ids
from opdlm.config.decoding import DecodingSettings
from opdlm.decode.engine import Engine
from opdlm.decode.request import NEVER, Request
from opdlm.decode.slots import Slots
from opdlm.model.checkpoint import load_model, load_tokenizer

MASK = "░"
ERASE = "\x1b[{count}D\x1b[K"


class Screen:
    """Writes an answer as it grows; what is not settled yet is erased and written again.

    Args:
        out: the terminal.
        tokenizer: turns tokens into text.
        prompt: tokens of the prompt, which is not shown.
    """

    def __init__(self, out: TextIO, tokenizer: Tokenizer, prompt: int) -> None:
        self.out, self.tokenizer, self.prompt = out, tokenizer, prompt
        self.settled = ""
        self.preview = ""

    def show(self, slots: Slots) -> None:
        """Draw the state of the only sequence in flight."""
        start = int(slots.start[0])
        tokens = slots.tokens[0, self.prompt : start + slots.block_size].tolist()
        hidden = (slots.reveal_step[0, self.prompt : start + slots.block_size] == NEVER).tolist()
        done = max(0, start - self.prompt)
        pieces = [MASK if masked else self._piece(token) for token, masked in zip(tokens, hidden, strict=True)]
        self._draw(answer_text(self.tokenizer, tokens[:done]), "".join(pieces[done:]).replace("\n", "⏎"))

    def finish(self, text: str) -> None:
        """Draw the finished answer."""
        self._draw(text, "")
        self.out.write("\n")

    def _piece(self, token: int) -> str:
        return self.tokenizer.decode([token], skip_special_tokens=True)

    def _draw(self, settled: str, preview: str) -> None:
        if self.preview:
            self.out.write(ERASE.format(count=len(self.preview)))
        # The end of a text may still change, when a character is spread over several tokens.
        if settled.startswith(self.settled):
            self.out.write(settled[len(self.settled) :])
            self.settled = settled
        self.out.write(preview)
        self.preview = preview
        self.out.flush()


def chat(
    model: Path, decoding: DecodingSettings, max_tokens: int, thinking: bool, read: Callable[[], str], out: TextIO
) -> None:
    """Talk with a model until `read` raises `EOFError` or returns an empty line.

    Args:
        model: model folder.
        decoding: strategy and temperature.
        max_tokens: longest answer.
        thinking: let the model think before it answers.
        read: gives the user's next line.
        out: where the answers are drawn.

    Raises:
        CheckpointError: the model folder is incomplete.
        SettingsError: the strategy does not fit the model.
        DataError: the conversation no longer fits into the model.
    """
    tokenizer = load_tokenizer(model)
    cuda = torch.cuda.is_available()
    network = load_model(model, torch.bfloat16 if cuda else torch.float32, "cuda" if cuda else "cpu")
    engine = Engine(network, stop_ids(tokenizer), slots=1)
    messages: list[Message] = []
    while True:
        try:
            question = read()
        except EOFError:
            return
        if not question:
            return
        messages.append({"role": "user", "content": question})
        request = Request(render(tokenizer, messages, thinking), max_tokens, seed=len(messages))
        screen = Screen(out, tokenizer, len(request.prompt))
        for _, rollout in engine.stream([request], decoding, watch=screen.show):
            text = answer_text(tokenizer, rollout.ids)
            screen.finish(text)
            messages.append({"role": "assistant", "content": text})

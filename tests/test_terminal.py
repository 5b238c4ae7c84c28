"""The chat draws what the engine decodes, block by block."""

import io
import re
from pathlib import Path

import pytest

from opdlm.chat import answer_text, render, stop_ids
from opdlm.config.decoding import DecodingSettings
from opdlm.decode.engine import Engine
from opdlm.decode.request import Request
from opdlm.model.checkpoint import load_model, load_tokenizer
from opdlm.terminal import MASK, chat
from tests.family import Family, make_family

HOW = DecodingSettings(strategy="static")


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    return make_family(tmp_path_factory.mktemp("family"))


def talk(model: Path, *lines: str) -> str:
    """What the terminal received."""
    waiting, out = [*lines, ""], io.StringIO()
    chat(model, HOW, 14, False, lambda: waiting.pop(0), out)
    return out.getvalue()


def seen(written: str) -> str:
    """What is left on the screen after all erasing."""
    screen = ""
    for part in re.split(r"(\x1b\[\d+D\x1b\[K)", written):
        erased = re.fullmatch(r"\x1b\[(\d+)D\x1b\[K", part)
        screen = screen[: -int(erased[1])] if erased else screen + part
    return screen


def test_the_screen_ends_with_the_engines_answers(family: Family) -> None:
    tokenizer = load_tokenizer(family.student)
    engine = Engine(load_model(family.student), stop_ids(tokenizer))
    messages, expected = [], ""
    for turn, line in enumerate(["Last digits: 1+2", "Python f(x): add 3"]):
        messages.append({"role": "user", "content": line})
        [rollout] = engine.generate([Request(render(tokenizer, messages, False), 14, 2 * turn + 1)], HOW)
        messages.append({"role": "assistant", "content": answer_text(tokenizer, rollout.ids)})
        expected += messages[-1]["content"] + "\n"
    assert seen(talk(family.student, "Last digits: 1+2", "Python f(x): add 3")) == expected


def test_masks_are_shown_and_erased(family: Family) -> None:
    written = talk(family.student, "Last digits: 1+2")
    assert MASK * 2 in written
    assert MASK not in seen(written)


def test_the_end_of_the_input_ends_the_chat(family: Family) -> None:
    def nothing() -> str:
        raise EOFError

    chat(family.student, HOW, 8, False, nothing, io.StringIO())

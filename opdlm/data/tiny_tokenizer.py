"""A small byte-level tokenizer with Qwen3's special tokens and the structure of its chat template.

Every byte is a token, so any Unicode text round-trips; a few hundred merges learned on the tiny tasks keep their texts
short. Digits are always single tokens, as in Qwen3.
"""

from itertools import islice
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from opdlm.config.tasks import TinyTask
from opdlm.data.tiny import examples

# Added tokens in Qwen3's order. The last four are added but not special, so that decoding keeps them.
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
PLAIN_TOKENS = ["<tool_call>", "</tool_call>", "<think>", "</think>"]
SPLIT_PATTERN = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CHAT_TEMPLATE = Path(__file__).with_name("chat_template.jinja").read_text(encoding="utf-8")
UNUSED_ROWS = 8
"""Embedding rows left free behind the tokenizer's entries, as Qwen3 leaves 267; the mask token takes the first."""


def build(vocab_size: int, tasks: list[TinyTask], seed: int) -> PreTrainedTokenizerFast:
    """Learn a tokenizer with at most `vocab_size - 8` entries on the training questions and answers of `tasks`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - UNUSED_ROWS - len(SPECIAL_TOKENS) - len(PLAIN_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (
        part
        for example in islice(examples(tasks, "train", seed), 3000)
        for part in (f"user\n{example.row.question}", f"assistant\n\n{example.answer}")
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(SPECIAL_TOKENS)
    tokenizer.add_tokens(PLAIN_TOKENS)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
    )

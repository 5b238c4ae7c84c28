"""Whether a teacher can teach a student: any size and family, if a token is the same thing to both."""

from pathlib import Path
from typing import Any

from opdlm.errors import CheckpointError
from opdlm.model.checkpoint import load_config, load_tokenizer
from opdlm.model.shape import read_shape


def check_same_tokens(teacher: Path, student: Path) -> None:
    """Compare the tokenizers and the rows of logits of two model folders, before any weights are read.

    The student's mask token, which its conversion has added, may be missing from the teacher's tokenizer.

    Raises:
        CheckpointError: a token has another id, or the teacher's distribution is over another number of tokens.
    """
    rows = {folder: read_shape(load_config(folder), where=str(folder)).vocab_size for folder in (teacher, student)}
    if rows[teacher] != rows[student]:
        raise CheckpointError(
            f"{teacher} has logits of {rows[teacher]} tokens and {student} of {rows[student]}: "
            "teacher and student need one vocabulary"
        )
    tokenizer: Any = load_tokenizer(student)
    other: Any = load_tokenizer(teacher)
    own, theirs = tokenizer.get_vocab(), other.get_vocab()
    different = sorted(
        token
        for token in own.keys() | theirs.keys()
        if own.get(token) != theirs.get(token) and not (token == tokenizer.mask_token and token not in theirs)
    )
    if different:
        token = different[0]
        raise CheckpointError(
            f"{len(different)} tokens have other ids in {teacher} than in {student}, the first is {token!r} "
            f"({theirs.get(token)} and {own.get(token)}): teacher and student need the same tokenizer"
        )

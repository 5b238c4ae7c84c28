"""What the checks ask about a text in natural language: its sentences, its words, and which language it is in."""

import re
from functools import cached_property
from typing import TYPE_CHECKING

from opdlm.errors import DataError

if TYPE_CHECKING:
    from nltk.tokenize import NLTKWordTokenizer
    from nltk.tokenize.punkt import PunktTokenizer

MODEL = "punkt_tab"
"""NLTK's model of English sentence ends, which the official checks use."""


class Reader:
    """Reads texts with NLTK and langdetect, both loaded only when first needed."""

    def sentences(self, text: str) -> list[str]:
        """The sentences of a text.

        Raises:
            DataError: the sentence model is neither here nor can it be downloaded.
        """
        return list(self._sentence_ends.tokenize(text))

    def words(self, text: str) -> list[str]:
        """Runs of letters, digits and underscores."""
        return re.findall(r"\w+", text)

    def tokens(self, text: str) -> list[str]:
        """Words and signs as the Penn Treebank splits them, sentence by sentence; a hyphen does not split.

        Raises:
            DataError: the sentence model is neither here nor can it be downloaded.
        """
        return [token for sentence in self.sentences(text) for token in self._treebank.tokenize(sentence)]

    def is_language(self, text: str, language: str) -> bool:
        """Whether a text is in a language, given by its ISO 639-1 code; true if the text has no letters to tell by."""
        from langdetect import DetectorFactory, LangDetectException, detect

        DetectorFactory.seed = 0  # langdetect samples; without a seed the verdict changes between runs
        try:
            return bool(detect(text) == language)
        except LangDetectException:
            return True

    @cached_property
    def _treebank(self) -> "NLTKWordTokenizer":
        from nltk.tokenize import NLTKWordTokenizer

        return NLTKWordTokenizer()

    @cached_property
    def _sentence_ends(self) -> "PunktTokenizer":
        import nltk
        from nltk.tokenize.punkt import PunktTokenizer

        try:
            return PunktTokenizer("english")
        except LookupError:
            nltk.download(MODEL, quiet=True)
        try:
            return PunktTokenizer("english")
        except LookupError:
            raise DataError(
                f"NLTK's sentence model {MODEL} is not here and cannot be downloaded. Where there is a network, run "
                f"`python -m nltk.downloader {MODEL}`; then put the folder tokenizers/{MODEL} into one of: "
                + ", ".join(nltk.data.path)
            ) from None

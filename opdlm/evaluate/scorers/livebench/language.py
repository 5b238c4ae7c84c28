"""LiveBench's language tasks. Graders give a share from 0 to 1, or none where no answer was found."""

import difflib
import re

from opdlm.evaluate.scorers.livebench.extraction import bold, boxed, edit_distance, plain, tagged, tagged_anyhow
from opdlm.evaluate.scorers.livebench.reasoning import NEW_FORMAT

GROUP = 4
NO_SENTENCES = ("</PLOT_SUMMARY>", "**End of Plot Summary**")
"""What may stand after a plot's last full stop."""


def connections(gold: str, text: str, release: str) -> float | None:
    """Words sorted into groups of four: the share of groups found (writing/connections).

    A group that is given twice counts once here; LiveBench's own score then goes above 1.
    """
    wanted = _groups(gold.split(","))
    attempts = _bold_lists(text) if release < NEW_FORMAT else _solution(text, GROUP * len(wanted))
    if not attempts:
        return None
    return max(len(_groups(words) & wanted) for words in attempts) / len(wanted)


def _groups(words: list[str]) -> set[frozenset[str]]:
    """Groups of four different words, filled in turn: a word that is repeated within a group takes no place."""
    groups: list[set[str]] = [set()]
    for word in words:
        if len(groups[-1]) == GROUP:
            groups.append(set())
        groups[-1].add(word.strip().lower())
    return {frozenset(group) for group in groups}


def _bold_lists(text: str) -> list[list[str]]:
    return [words.split(",") for words in bold(text.replace("\n", ""))]


def _solution(text: str, number: int) -> list[list[str]]:
    """The one list of the answer; of several tags, the last words of all taken together."""
    line = text.replace("\n", "")
    found = tagged(text) or tagged(line) or tagged_anyhow(text) or tagged_anyhow(line)
    if not found and (box := boxed(text)) is not None:
        found = [plain(box).replace("\n", "")]
    words = [word for match in found for word in match.split(",")]
    return [words[-number:] if len(found) > 1 else words] if found else []


def plot_unscrambling(gold: str, text: str) -> float:
    """Sentences put in order: each true sentence is looked up among the answer's, and the order compared.

    The score is 1 less the edit distance per sentence (writing/plot_unscrambling).
    """
    wanted = _sentences(gold)
    given = [sentence for sentence in _sentences(_plot(text)) if sentence not in NO_SENTENCES]
    order = []
    for sentence in wanted:
        order += [given.index(match) for match in difflib.get_close_matches(sentence, given, n=1, cutoff=0.0)]
    return 1 - edit_distance(range(len(wanted)), order) / len(wanted)


def _plot(text: str) -> str:
    """What follows the first opening tag, up to the last closing tag if there is one; without tags the whole text."""
    found = re.search(r"<PLOT_SUMMARY>(.*)</PLOT_SUMMARY>", text, re.DOTALL)
    found = found or re.search(r"<PLOT_SUMMARY>(.*)", text, re.DOTALL)
    return found[1] if found else text


def _sentences(text: str) -> list[str]:
    return [sentence.strip() for sentence in text.split(".") if sentence.strip()]


def typos(gold: str, text: str) -> float:
    """Whether the corrected text stands in the answer, apart from line breaks (writing/typos).

    The answer stands in tags, else between dashes, else it is the whole text.
    """
    tags = tagged(text)
    text = tags[-1] if tags else _between_dashes(re.sub("</?solution>", "", text))
    return float(gold in " ".join(line for line in text.strip().split("\n") if line))


def _between_dashes(text: str) -> str:
    """What stands between the last ` --- ` and ` --- ` of the first line that has both, if any has."""
    parts = (line.split(" --- ") for line in text.split("\n"))
    return next((each[-2] for each in parts if len(each) > 2), text)

"""Multiple choice: the letter that an answer gives, by ways of saying so; never a letter that merely occurs.

The ways are tried in turn, and the last match of the first one that matches counts. A letter is one of the row's
options and stands alone: no Latin letter or digit touches it, while Chinese, Japanese, Korean and Thai text may.
"""

import re

from opdlm.data.rows import Row
from opdlm.evaluate.scorers.verdicts import unanswered, verdict
from opdlm.records import Sample, Verdict

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MOST_OPTIONS = 10
"""Options of a row that does not say how many it has."""

# LETTER stands for the row's letters, with their right boundary. Small letters count only where nothing but a letter
# can stand: "the answer is a matter of taste".
OPENING = r"[\s*_\"'“”‘’`$(（\[{]*(?:(?i:option|choice|letter|选项|選項)[\s*:]*)?(?:\\text\w*\{)?[\s*\"'“”`$(（\[]*"
EXAMPLE = r"e\.g\.,?\s*[\"'“]answer[\"'”]\s*:\s*[\"'“]\w[\"'”]"
"""The prompt's own example, which an answer may repeat."""
WAYS = (
    # The field that the prompt asks for.
    r"(?i:[\"'“”]answer[\"'“”]\s*[:=：]\s*[\"'“”]\s*\(?LETTER\)?(?=\s*[\"'“”.):]))",
    r"(?i:\\boxed\s*\{\s*(?:\\text\w*\s*\{)?\s*\(?LETTER)",
    r"(?i:answers?\b(?:\s+(?:option|choice|letter))?)[\s*_\"'”)\]]*[:=：]" + OPENING + "LETTER",
    r"(?i:answers?\b[^.\n]{0,60}?\bis\b)[\s:：]*" + OPENING + "LETTER",
    # Chinese, Japanese, Korean, Thai; then languages that put the letter after "the answer (is)".
    r"(?:答案|正解|答え|解答|정답|답|คำตอบ)[^A-Za-z。.\n]{0,20}?" + OPENING + "LETTER",
    r"(?:故选|应选|选择|选|選擇|選)[\s:：是]*" + OPENING + "LETTER",
    r"(?i:respuesta|resposta|risposta|réponse|antwort|ответ|jawaban|الإجابة|الجواب|उत्तर|উত্তর|cevap|đáp án|odpowiedź)"
    r"[^.\n]{0,40}?(?:[:：]|\s)" + OPENING + "LETTER",
    r"(?i:^[\s*\"'($\[{]*LETTER[\s*\"')$\]}.。]*$)",
)


def score(rows: list[Row], samples: list[Sample]) -> list[Verdict]:
    """Judge answers by their letter."""
    return [_judged(rows[sample.index], sample) for sample in samples]


def _judged(row: Row, sample: Sample) -> Verdict:
    letter = extract(sample.text, row.options)
    if letter is None:
        return unanswered(sample)
    gold = row.ground_truth_answer.strip().strip("()").upper()
    return verdict(sample, "correct" if letter == gold else "wrong", f"answered {letter}")


def extract(text: str, options: int) -> str | None:
    """The letter that a text gives as its answer, or none. `options` is the number of options, 0 if unknown."""
    letters = f"([{LETTERS[: options or MOST_OPTIONS]}])(?![A-Za-z0-9_])"
    text = re.sub(EXAMPLE, "", text).strip()
    for way in WAYS:
        found = re.findall(way.replace("LETTER", letters), text)
        if found:
            return str(found[-1]).upper()
    return None

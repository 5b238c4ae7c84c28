"""Multiple choice: the letter that an answer gives, by ways of saying so; never a letter that merely occurs.

The ways are tried in turn, and the last match of the first one that matches counts. A letter is one of the row's
options and stands alone: no Latin letter or digit touches it, while Chinese, Japanese, Korean and Thai text may.
"""

import re

from opdlm.data.rows import Row
from opdlm.evaluate.scorers import published
from opdlm.evaluate.scorers.verdicts import unanswered, verdict
from opdlm.records import Sample
from opdlm.verdicts import Verdict

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MOST_OPTIONS = 10
"""Options of a row that does not say how many it has."""

ANSWER_WORDS = (
    # European languages,
    *("respuesta", "resposta", "risposta", "réponse", "răspuns", "antwort", "antwoord", "svar", "vastus", "vastaus"),
    *("odgovor", "odpowied", "odpověď", "válasz", "përgjigj", "atsakym", "erantzun", "απάντηση", "cevap", "cevab"),
    *("yanıt", "cavab", "javob", "жауап", "ответ", "відповід", "адказ", "отговор", "одговор", "պատասխան", "პასუხ"),
    *("opción correcta", "opção correta", "alternativa correta", "opzione corretta", "option correcte"),
    *("richtige option", "bonne option"),
    # of Asia and Africa.
    *("الإجابة", "الجواب", "جواب", "پاسخ", "گزینه صحیح", "תשובה", "התשובה", "उत्तर", "जवाफ", "উত্তর", "பதில்", "விடை"),
    *("సమాధానం", "ഉത്തരം", "đáp án", "câu trả lời", "jawab", "jawapan", "sagot", "jibu", "ìdáhùn", "idahun"),
)
"""The word for answer in the languages of the benchmarks, or how it begins; languages written without spaces apart."""

# LETTER stands for the row's letters, with their right boundary. Small letters count only where nothing but a letter
# can stand: "the answer is a matter of taste".
# Runs are bounded, so that an answer of a hundred thousand spaces is judged in no time.
OPENING = (
    r"(?:[\s*_\"'“”‘’「`$(（\[{]|\\\(){0,20}(?:(?i:option|choice|letter|选项|選項)[\s*:]{0,9})?"
    r"(?:\\(?:text|math)\w{0,9}\{)?[\s*\"'“”`$(（\[]{0,9}"
)
ALONE = "(?<![A-Za-z0-9_])LETTER"
EXAMPLE = r"e\.g\.,?\s*[\"'“]answer[\"'”]\s*:\s*[\"'“]\w[\"'”]"
"""The prompt's own example, which an answer may repeat."""
WAYS = (
    # The field that the prompt asks for.
    r"(?i:[\"'“”](?:answer|答案)[\"'“”]\s*[:=：]\s*[\"'“”]\s*\(?LETTER\)?(?=\s*[\"'“”.):]))",
    r"(?i:\\boxed\s*\{\s*(?:\\(?:text|math)\w*\s*\{)?\s*\(?LETTER)",
    r"(?i:\bans(?:wers?)?\b(?:\s+(?:option|choice|letter))?)[\s*_\"'”)\]]*[:=：]" + OPENING + "LETTER",
    r"(?i:<answer>)" + OPENING + "LETTER",
    r"(?i:(?:answers?|(?:correct|right|best)\s+(?:option|choice|alternative))\b[^.\n]{0,60}?"
    r"\b(?:is|(?:would|must|should)\s+be)\b)[\s:：]*(?i:(?:therefore|thus|hence|then|clearly)\b,?)?"
    + OPENING
    + "LETTER",
    # A heading with the letter below.
    r"(?i:(?:^|\n)[#*_ \t]*(?:final\s+|correct\s+)?answer[*_ \t]*\n)" + OPENING + "LETTER",
    # Chinese, Japanese, Korean, Thai; then languages that put the letter after "the answer (is)".
    r"(?:答案|正[确確]的?(?:选项|選項)|正解|答え|[解回]答|정답|답|คำตอบ|ข้อที่ถูก|ตอบ)[^A-Za-z。.\n不非]{0,20}?"
    + OPENING
    + "LETTER",
    r"(?<!不)(?:选择|选|選擇|選)[\s:：是]{0,9}" + OPENING + "LETTER",
    rf"(?i:(?<!\w)(?:{'|'.join(ANSWER_WORDS)}))[^.\n]{{0,40}}?(?:[:：]|\s)" + OPENING + "LETTER",
    # The letter before what is said of it.
    ALONE + r"[)\s*]+(?i:is\s+(?:therefore\s+)?the\s+(?:correct|right|best)\s+(?:answer|option|choice))",
    r"(?i:\b(?:option|choice))[\s*(]+LETTER[)\s*]+(?i:is\s+(?:the\s+)?(?:correct|right)\b)",
    r"(?:选项|選項|選択肢)\s*LETTER\s*(?:是正[确確]|正[确確]|が正し)",
    ALONE + r"\s*(?:选项|選項|项|項)(?:是)?正[确確]",
    r"(?i:\bI(?:'d|\s+would|\s+will)?\s+(?:choose|pick|select|go\s+with)\b)[\s:]{0,9}" + OPENING + "LETTER",
    # A last line, or a text of a single line, that is the letter or starts with it as options do.
    r"(?i:(?:^|\n)[\s*\"'($\[{]{0,20}LETTER[\s*\"')$\]}.。]{0,20}$)",
    r"^[\s*(]*LETTER[*)]*[.):][^\n]*$",
)


def score(rows: list[Row], samples: list[Sample]) -> list[Verdict]:
    """Judge answers by their letter."""
    letters = published.letters(rows)
    return [_judged(rows[sample.index], sample, letters) for sample in samples]


def _judged(row: Row, sample: Sample, letters: str) -> Verdict:
    gold = row.ground_truth_answer.strip().strip("()").upper()
    counted = published.letter(sample.text, letters) == gold
    letter = extract(sample.text, row.options)
    if letter is None:
        return unanswered(sample, counted)
    return verdict(sample, "correct" if letter == gold else "wrong", f"answered {letter}", counted)


def extract(text: str, options: int) -> str | None:
    """The letter that a text gives as its answer, or none. `options` is the number of options, 0 if unknown."""
    letters = f"([{LETTERS[: options or MOST_OPTIONS]}])(?![A-Za-z0-9_])"
    text = re.sub(EXAMPLE, "", text).strip()
    for way in WAYS:
        found = re.findall(way.replace("LETTER", letters), text)
        if found:
            return str(found[-1]).upper()
    return None

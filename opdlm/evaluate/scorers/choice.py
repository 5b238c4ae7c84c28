"""Multiple choice: the letter that an answer gives, by ways of saying so; never a letter that merely occurs.

The ways are tried in turn, and the last match of the first that matches counts; ways of equal rank are one. A letter
is one of the row's options and stands alone: no Latin letter or digit touches it, while Chinese, Japanese, Korean and
Thai text may. The article "A" and the pronoun "I" are no letters.
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
    r"(?:[\s*_\-•\"'“”‘’「`$(（\[{]|\\[(\[]){0,20}(?:(?i:option|choice|letter|选项|選項)[\s*:]{0,9})?"
    r"(?:\\(?:text|math)\w{0,9}\{)?[\s*\"'“”`$(（\[]{0,9}"
)
ALONE = "(?<![A-Za-z0-9_])LETTER"
AFTER_A = "and|as|because|but|by|due|for|from|given|here|if|in|is|not|or|since|the|while|which|with"
AFTER_I = "am|assume|believe|can|cannot|choose|could|do|guess|have|know|need|only|think|was|will|would|(?:and|or) I+"
WORD = rf"(?!(?<=A) (?!(?:{AFTER_A})\b)[a-z])(?!(?<=I)(?:['’]|,? (?:{AFTER_I})\b))(?!-[a-z]|\(\w[,)])"
"""What follows a letter, and shows that it is none: `A dye laser`, `I think`, `I and II`, `B-cells`, `E(X)`."""
EXAMPLE = r"e\.g\.,?\s*[\"'“]answer[\"'”]\s*:\s*[\"'“]\w[\"'”]"
"""The prompt's own example, which an answer may repeat."""

BEST = (
    r"(?:correct|right|best|closest|nearest|only|matching|suitable|likely|(?:most|more)\s+\w{1,20})"
    r"(?:\s+(?:available|matching|possible|remaining|given|listed))?"
)
NAMED = rf"(?:answers?|{BEST}\s+(?:option|choice|alternative|match)|(?:closest|nearest)(?=\s+is))\b"
"""What is said to be a letter: `the answer`, `the best available option`, `the closest`."""
SKIPPED = r"(?:[^.\n]|\.(?=\d)){0,80}?"
"""More of the same sentence, which may have numbers."""
IS = r"\b(?:is|(?:would|must|should|will|could|may|might|to|appears\s+to|seems\s+to)\s+be)\b"
HEDGE = (
    r"(?:(?:therefore|thus|hence|then|clearly|likely|most\s+likely|probably|(?:closest|nearest)\s+to|in)\b,?\s*){0,2}"
)

WAYS: tuple[str | tuple[str, ...], ...] = (
    # The field that the prompt asks for.
    r"(?i:[\"'“”](?:answer|答案)[\"'“”]\s*[:=：]\s*[\"'“”]\s*\(?LETTER\)?(?=\s*[\"'“”.):]))",
    # Not `\boxed{B = 2}`.
    r"(?i:\\boxed\s*\{\s*(?:\\(?:text|math)\w*\s*\{\s*){0,2}(?:(?:option|choice|answer)[\s:]*)?\(?LETTER)"
    r"(?=\s*(?:[)}.,:：]|\\(?:text|q?quad|[ ,;:)])))",
    (
        r"(?i:\bans(?:wers?)?\b(?:\s+(?:option|choice|letter))?)[\s*_\"'”)\]]*[:=：]" + OPENING + "LETTER",
        r"(?i:<answer>)" + OPENING + "LETTER",
        rf"(?i:{NAMED}{SKIPPED}{IS}[\s*:：]*{HEDGE})" + OPENING + "LETTER",
        # A heading with the letter below.
        r"(?i:(?:^|\n)[#*_ \t]*(?:final\s+|correct\s+)?answer[*_ \t]*\n)" + OPENING + "LETTER",
    ),
    # Chinese, Japanese, Korean, Thai; then languages that put the letter after "the answer (is)".
    r"(?:答案|正[确確]的?(?:选项|選項)|正解|答え|[解回]答|정답|답|คำตอบ|ข้อที่ถูก|ตอบ)[^A-Za-z。.\n不非]{0,20}?"
    + OPENING
    + "LETTER",
    r"(?<!不)(?:选择|选|選擇|選)项?[\s:：是为]{0,9}" + OPENING + "LETTER",
    r"(?:(?<!不)正[确確]的?(?:说法|說法|一[项項])?[是为為]|(?:^|\n)答[:：])\s{0,9}" + OPENING + "LETTER",
    rf"(?i:(?<!\w)(?:{'|'.join(ANSWER_WORDS)}))[^.\n]{{0,40}}?(?:[:：]|\s)" + OPENING + "LETTER",
    # The letter before what is said of it.
    ALONE + rf"[)\s*]+(?i:is\s+(?:therefore\s+)?the\s+{BEST}\s+(?:answer|option|choice|match))",
    rf"(?i:\b(?:option|choice))[\s*(]+LETTER[)\s*]+(?i:is\s+(?:(?:the\s+)?(?:correct|right|closest)|the\s+{BEST})\b)",
    r"\(LETTER\)[\s*]*(?i:is\s+(?:correct|right)\b)",
    r"(?:选项|選項|選択肢)\s*LETTER\s*(?:是正[确確]|正[确確]|が正し)",
    ALONE + r"\s*(?:(?:选项|選項|项|項)是?正[确確]|[是为為]正[确確](?:答案|选项|選項))",
    r"(?i:\b(?:I|we)(?:'d|\s+would|\s+will|\s+might|\s+must|\s+should)?\s+(?:choose|pick|select|go\s+with)\b)[\s:]{0,9}"
    + OPENING
    + "LETTER",
    # The option's text before its letter: "the best answer is peristalsis (C)".
    rf"(?i:{NAMED}{SKIPPED}{IS})[^.\n()]{{1,80}}\(LETTER\)",
    # A first or last line that is the letter, or a text of a single line that starts with it as options do.
    r"(?i:(?:^|\n)[\s*\"'($\[{]{0,20}LETTER[\s*\"')$\]}.。]{0,20}$)",
    r"^[\s*(]*LETTER[*)]*[.):][^\n]*$",
    r"^[\s*\"'($\[{]{0,20}LETTER[*\"')$\]}.]{0,9}\n",
    r"^[\s*(]*LETTER[*)]*[.):][^\n]*\n+[#*_ ]{0,9}(?i:explanation|rationale|reason)",
    r"(?i:\b(?:is|be|to|with|option|choice))\s*[:：][*_ ]*\n+[\s*(]{0,20}LETTER[*)]*[.):][^\n]*$",
)
"""Ways to give an answer, the clearest first."""
OPTION = r"(?i:\b(?:option|choice|answer))[\s*:(\[]{1,9}LETTER"
MENTIONED = rf"(?:{OPTION}|(?<=\s)\(LETTER\))"
"""How a sentence mentions an option."""
CHOICE = r"(?i)\b(?:choose|select\w*|pick|match\w*|align\w*|correspond\w*|consistent|answer|closest|best)\b"
CONCLUSION = rf"(?i)\b(?:therefore|thus|so|hence|conclu\w+)\b.*{OPTION}"
"""What a sentence says when it settles on an option."""
DENIAL = (
    r"(?i)\b(?:not|cannot|\w+n['’]t|neither|nor|except|incorrect|wrong|rule[sd]?|eliminat\w+|unlike|consider|check"
    r"|evaluate|examine|look|next|let['’]s)\b"
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
    letters = f"([{LETTERS[: options or MOST_OPTIONS]}])(?![A-Za-z0-9_]){WORD}"
    text = re.sub(EXAMPLE, "", text).strip()
    for rank in WAYS:
        ways = (rank,) if isinstance(rank, str) else rank
        found = [match for way in ways for match in re.finditer(way.replace("LETTER", letters), text)]
        if found:
            return max(found, key=lambda match: match.start(1))[1].upper()
    return _concluded(text, letters)


def _concluded(text: str, letters: str) -> str | None:
    """The only option that the last sentence mentions, if that is a whole sentence and draws a conclusion."""
    sentence = re.split(r"(?<=[.!?。])\s|\n", text)[-1]
    if not re.search(r"[.!。][\s*\"')\]]*$", sentence) or re.search(DENIAL, sentence):
        return None
    mentioned = {"".join(found) for found in re.findall(MENTIONED.replace("LETTER", letters), sentence)}
    settled = any(re.search(sign.replace("LETTER", letters), sentence) for sign in (CHOICE, CONCLUSION))
    return mentioned.pop() if settled and len(mentioned) == 1 else None

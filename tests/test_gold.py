"""On real rows, the published answer scores however it is put, and other rows' answers only by chance."""

import csv
import gzip
import json
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from opdlm.config.data import FileLayout, Source
from opdlm.data.rows import Row
from opdlm.data.sources import read_file
from opdlm.evaluate.scorers import choice, livebench, math
from opdlm.records import Sample

BENCHMARKS = Path(__file__).parents[2] / "shared" / "bench_data"
pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the benchmark files are not here")


def sample(text: str, index: int) -> Sample:
    return Sample(index=index, seed=0, prompt_tokens=1, ids=[1], steps=[0], text=text, finish="stop")


def public(layout: FileLayout, file: str) -> list[Row]:
    return read_file(Source(layout=layout, file=file), BENCHMARKS / file, None)


def shuffled(golds: list[str]) -> list[str]:
    return random.Random(0).sample(golds, len(golds))


# Mathematics


NUMBERS = [
    "First 3.\n\\[ \\boxed{{{}}} \\]\n",
    "**Answer:** \\(\\boxed{{ {} }}\\)",
    "\\boxed{{\\text{{{}}}}}",
    "\\boxed{{\\mathbf{{{}}}.}}",
    "\\boxed{{$x = {}$}}",
    "\\boxed{{{}}}. As a check: \\boxed{{",
]
ZEROS = "٠۰०০๐０"
"""Zero in Arabic, Persian, Hindi, Bengali, Thai, and full width."""


def math_rows(name: str) -> list[Row]:
    if name.startswith("aime"):
        rows = []
        for line in (BENCHMARKS / name / "test.jsonl").read_text(encoding="utf-8").splitlines():
            rows.append(Row(question="q", ground_truth_answer=str(json.loads(line)["answer"])))
        return rows
    rows = public("gsm8k" if name == "gsm8k" else "math500", f"{name}/test.jsonl")
    return random.Random(0).sample(rows, 80)


def equal(rows: list[Row], texts: list[str]) -> list[int]:
    samples = [sample(text, index) for index, text in enumerate(texts)]
    return [verdict.index for verdict in math.score(rows, samples) if verdict.correct]


@pytest.mark.parametrize("name", ["gsm8k", "aime2024", "aime2025"])
def test_a_right_number_is_correct_however_it_is_put(name):
    rows = math_rows(name)
    for wording in NUMBERS:
        assert equal(rows, [wording.format(row.ground_truth_answer) for row in rows]) == list(range(len(rows)))
    texts = []
    for index, row in enumerate(rows):
        zero = ord(ZEROS[index % len(ZEROS)])
        texts.append("".join(chr(zero + int(sign)) if sign.isdigit() else sign for sign in row.ground_truth_answer))
    assert equal(rows, [f"\\boxed{{{text}}}" for text in texts]) == list(range(len(rows)))


def test_a_right_expression_is_correct_however_it_is_put():
    rows = math_rows("math500")
    for wording in (NUMBERS[0], NUMBERS[1], NUMBERS[5]):
        assert equal(rows, [wording.format(row.ground_truth_answer) for row in rows]) == list(range(len(rows)))


@pytest.mark.parametrize("name", ["gsm8k", "math500", "aime2024", "aime2025"])
def test_another_rows_answer_is_wrong(name):
    rows = math_rows(name)
    golds = [row.ground_truth_answer for row in rows]
    others = shuffled(golds)
    same = [index for index, (gold, other) in enumerate(zip(golds, others, strict=True)) if gold == other]
    assert equal(rows, [f"\\boxed{{{other}}}" for other in others]) == same


# Multiple choice

ENGLISH = [
    'A and B are wrong.\n"answer": "{}"',
    '```json\n{{\n  "answer": "{}"\n}}\n```',
    "A is tempting, but the answer is ({}).",
    "The correct option is **{}**.",
    "Thus $\\boxed{{\\text{{{}}}}}$",
    "### Answer\n\n{}",
    "Option ({}) is the correct answer.",
    "The best answer would be \\( {} \\), not A.",
    "I looked at A.\n({})",
]
CHINESE = [
    "答案是{}",
    "**答案：{}**",
    "A不对，故选{}。",
    "所以正确选项是（{}）。",
    "正確答案為「{}」",
    "选项{}是正确的",
]
BY_LANGUAGE = {
    "Albanian": ["Përgjigjja e saktë është {}."],
    "Arabic": ["الإجابة الصحيحة هي ({}).", "الجواب: {}", "الإجابة الصحيحة هي الخيار {}."],
    "Bulgarian": ["Правилният отговор е {}.", "Отговор: {}"],
    "Croatian": ["Točan odgovor je {}.", "Odgovor: **{}**"],
    "French": ["La bonne réponse est ({}).", "Réponse : {}"],
    "German": ["Die richtige Antwort lautet {}.", "Antwort: {}"],
    "Hungarian": ["A helyes válasz a(z) {}.", "Válasz: {}"],
    "Italian": ["La risposta corretta è la {}.", "Risposta: {}"],
    "Lithuanian": ["Teisingas atsakymas yra {}.", "Atsakymas: {}"],
    "North Macedonian": ["Точниот одговор е {}."],
    "Polish": ["Prawidłowa odpowiedź to {}.", "Odpowiedź: {}"],
    "Portuguese": ["A resposta correta é ({}).", "A alternativa correta é a {}."],
    "Serbian": ["Тачан одговор је {}.", "Tačan odgovor: {}"],
    "Spanish": ["La respuesta correcta es la {}.", "La opción correcta es **{}**."],
    "Turkish": ["Doğru cevap {} şıkkıdır.", "Cevap: {}"],
    "Vietnamese": ["Đáp án đúng là {}.", "Câu trả lời đúng là ({})."],
}


def exams() -> Iterator[tuple[str, Row]]:
    with tarfile.open(BENCHMARKS / "include_standin_exams" / "test.jsonl.tar.gz") as archive:
        lines = archive.extractfile("test.jsonl")
        assert lines is not None
        for line in lines:
            fields = json.loads(line)
            # Three rows have the answer "@", which is no option.
            if fields["answerKey"] != "@":
                options = len(fields["question"]["choices"])
                row = Row(question="q", ground_truth_answer=fields["answerKey"], options=options)
                yield fields["info"]["language"], row


def logiqa(language: str) -> list[Row]:
    lines = (BENCHMARKS / "mlogiqa_standin" / f"logiqa-{language}.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        Row(question="q", ground_truth_answer=fields["label"], options=len(fields["options"]))
        for fields in map(json.loads, lines)
    ]


def mmlu_pro() -> list[Row]:
    with gzip.open(BENCHMARKS / "mmlu_pro" / "questions_1000.jsonl.gz", "rt", encoding="utf-8") as stream:
        return [
            Row(question="q", ground_truth_answer=fields["answer"], options=len(fields["options"]))
            for fields in map(json.loads, stream)
        ]


def arabic() -> list[Row]:
    rows = []
    for file in sorted((BENCHMARKS / "mmmlu_standin_arabic").glob("*_test.csv")):
        with open(file, encoding="utf-8", newline="") as stream:
            rows += [Row(question="q", ground_truth_answer=record[-1], options=4) for record in csv.reader(stream)]
    return rows


def agreeing(rows: list[Row], texts: list[str]) -> int:
    verdicts = choice.score(rows, [sample(text, index) for index, text in enumerate(texts)])
    return sum(verdict.correct for verdict in verdicts)


def check_letters(rows: list[Row], wordings: list[str]) -> None:
    golds = [row.ground_truth_answer for row in rows]
    assert rows
    for wording in wordings:
        assert agreeing(rows, [wording.format(gold) for gold in golds]) == len(rows), wording
        others = shuffled(golds)
        same = sum(gold == other for gold, other in zip(golds, others, strict=True))
        assert agreeing(rows, [wording.format(other) for other in others]) == same, wording
    beyond = [choice.LETTERS[row.options] for row in rows]
    assert agreeing(rows, [wordings[0].format(letter) for letter in beyond]) == 0


def test_letters_of_mmlu_pro_are_read():
    check_letters(mmlu_pro(), ENGLISH)


def test_letters_of_c_eval_are_read():
    check_letters(public("ceval", "ceval/ceval.zip"), ENGLISH[:3] + CHINESE)


@pytest.mark.parametrize(("language", "wordings"), [("en", ENGLISH), ("zh", CHINESE)])
def test_letters_of_logiqa_are_read(language, wordings):
    check_letters(logiqa(language), wordings)


def test_letters_of_arabic_mmlu_are_read():
    check_letters(arabic(), [ENGLISH[0], *BY_LANGUAGE["Arabic"]])


def test_letters_of_exams_are_read_in_all_its_languages():
    by_language: dict[str, list[Row]] = {}
    for language, row in exams():
        by_language.setdefault(language, []).append(row)
    assert by_language.keys() == BY_LANGUAGE.keys()
    for language, rows in by_language.items():
        check_letters(rows, [ENGLISH[0], *BY_LANGUAGE[language]])


# LiveBench

TASKS = {
    "reasoning__spatial": ["It is **{}**."],
    "reasoning__web_of_lies_v2": ["So **{}**.", "<solution>{}</solution>"],
    "math__AMPS_Hard": ["It is $\\boxed{{{}}}$."],
    "math__math_comp": ["The answer is \\boxed{{{}}}."],
    "math__olympiad": ["Since it holds\n\nAnswer: {}", "\\boxed{{{}}}"],
    "data_analysis__cta": ["{}", " '{}'."],
    "data_analysis__tablejoin": ["{}", "```python\n{}\n```"],
    "data_analysis__tablereformat": ["{}", "Here is the table:\n{}", "```\n{}\n```"],
}


def livebench_rows(name: str) -> list[Row]:
    return public("livebench", f"livebench/{name}__question.jsonl")


def shares(rows: list[Row], texts: list[str]) -> list[float]:
    verdicts = livebench.score(rows, [sample(text, index) for index, text in enumerate(texts)])
    return [verdict.score for verdict in verdicts]


@pytest.mark.parametrize("name", TASKS)
def test_livebench_golds_have_full_credit_and_others_little(name):
    pytest.importorskip("lxml", reason="lxml is not installed")
    # Comparing different expressions takes up to seconds.
    rows = random.Random(0).sample(livebench_rows(name), 12 if name == "math__AMPS_Hard" else 40)
    golds = [row.livebench["ground_truth"] for row in rows]
    for wording in TASKS[name]:
        assert shares(rows, [wording.format(gold) for gold in golds]) == [1.0] * len(rows)
    # Many spatial answers are small numbers, and lists of the same numbers lie near each other.
    assert sum(shares(rows, [TASKS[name][0].format(gold) for gold in shuffled(golds)])) < 0.4 * len(rows)


def test_livebench_zebra_golds_have_full_credit_in_their_releases_format():
    rows = livebench_rows("reasoning__zebra_puzzle")
    lists = [row for row in rows if "<solution>" in row.question]
    words = [row for row in rows if row not in lists and row.livebench["ground_truth"].isalnum()]
    # Of the old puzzles eight have an answer that is not one word, three of them "... movies".
    assert (len(lists), len(words)) == (50, 42)
    assert shares(lists, [f"<solution>{row.livebench['ground_truth']}</solution>" for row in lists]) == [1.0] * 50
    assert shares(words, [f"***{row.livebench['ground_truth']}***" for row in words]) == [1.0] * 42

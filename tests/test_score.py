"""A shard of answers becomes a file of verdicts, or an error that names the file and the line."""

import json
import subprocess
import sys

import pytest

from opdlm.config.evaluation import ScoreStage
from opdlm.data.rows import Row
from opdlm.errors import DataError
from opdlm.evaluate.responses import ResponseScores, score_file
from opdlm.evaluate.score import VerdictJournal, score_shard
from opdlm.files import json_line, read_json
from opdlm.records import Sample
from opdlm.verdicts import Scores

ROWS = [Row(question="q", ground_truth_answer=letter, options=4) for letter in "ABC"]
STAGE = ScoreStage(scorer="choice")


def sample(index: int, text: str) -> Sample:
    return Sample(index=index, seed=0, prompt_tokens=1, ids=[1], steps=[0], text=text, finish="stop")


@pytest.fixture
def files(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json_line(row) for row in ROWS))
    return rows, tmp_path / "samples.jsonl", tmp_path / "scores" / "0-0.json"


def test_every_answer_gets_a_verdict_in_the_order_of_the_file(files):
    rows, samples, out = files
    answers = [sample(2, "Answer: C"), sample(0, "Answer: B")]
    samples.write_text("".join(json_line(answer) for answer in answers))
    score_shard(STAGE, rows, samples, out)
    scores = Scores.model_validate(read_json(out))
    assert scores.samples == str(samples)
    assert [(v.index, v.correct, v.score, v.reason) for v in scores.verdicts] == [
        (2, True, 1.0, "correct"),
        (0, False, 0.0, "wrong"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json_line(sample(0, "A")) + json_line(sample(1, "B"))[:30], "line 2"),
        (json_line(sample(0, "A")) + '{"index": 1}\n', "line 2"),
        (json_line(sample(3, "A")), "index 3"),
        (json_line(sample(-1, "A")), "index -1"),
        (json_line(sample(1, "A")) * 2, "row 1 is answered twice"),
        ("", "no rows"),
    ],
)
def test_damaged_samples_are_refused_and_nothing_is_written(files, content, message):
    rows, samples, out = files
    samples.write_text(content)
    with pytest.raises(DataError) as caught:
        score_shard(STAGE, rows, samples, out)
    assert str(samples) in str(caught.value)
    assert message in str(caught.value)
    assert not out.exists()


def write_lines(file, values):
    file.write_text("".join(json_line(value) for value in values))


def test_bare_answers_to_published_rows_are_judged_and_summed_up(tmp_path):
    rows, answers, out = (tmp_path / name for name in ("rows.json", "answers.jsonl", "out.json"))
    published = [
        {"question": "Double.", "task_id": "a", "test_list": ["assert f(2) == 4"], "entry_point": "f", "rating": 800},
        {"question": "Double.", "test_method": "stdio", "test_input": ["2"], "test_output": ["4\n"], "tags": ["x"]},
        {
            "question": "Double.",
            "test_method": "call",
            "test_input": ["2"],
            "test_output": ["4"],
            "entry_point": "f",
            "test_time_limit": 3,
        },
    ]
    rows.write_text(json.dumps(published))
    double = "```python\ndef f(x):\n    return 2 * x\n```"
    write_lines(
        answers,
        [{"index": 2, "response": double}, {"index": 0, "response": double}, {"index": 1, "response": double}],
    )
    score_file(ScoreStage(scorer="code"), rows, answers, out)
    scores = ResponseScores.model_validate(read_json(out))
    assert [(v.index, v.correct, v.score, v.reason) for v in scores.verdicts] == [
        (2, True, 1.0, "correct"),
        (0, True, 1.0, "correct"),
        (1, False, 0.0, "wrong"),
    ]
    assert scores.summary.model_dump() == {
        "answers": 3,
        "correct": 2,
        "accuracy": pytest.approx(66.67, abs=0.01),
        "published_accuracy": pytest.approx(66.67, abs=0.01),
        "score": pytest.approx(66.67, abs=0.01),
        "reasons": {"correct": 2, "wrong": 1},
    }


def test_bare_answers_of_every_kind_are_judged(files):
    rows, answers, out = files
    write_lines(answers, [{"index": 1, "response": "Answer: B"}])
    score_file(STAGE, rows, answers, out)
    assert ResponseScores.model_validate(read_json(out)).summary.accuracy == 100


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"index": 0, "response": "A"}', '{"index": 1}'], "line 2: response"),
        (['{"index": 0, "response": "A"}', '{"index": 0, "response": "B"}'], "row 0 is answered twice"),
        (['{"index": 5, "response": "A"}'], "index 5, but there are 3 rows"),
        (['{"response": "A"}'], "line 1: index"),
        (['"A"'], "line 1"),
        ([], "no rows"),
    ],
)
def test_damaged_bare_answers_are_refused(files, lines, message):
    rows, answers, out = files
    answers.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(DataError, match=message):
        score_file(STAGE, rows, answers, out)
    assert not out.exists()


SCRIPT = Row(question="q", test_method="stdio", test_input=[""], test_output=["1"])
OF_LIVEBENCH = {"livebench_category": "coding", "livebench_task": "LCB_generation"}
TYPOS = Row(question="q", ground_truth_answer="print(1)", livebench_category="language", livebench_task="typos")


@pytest.mark.parametrize(
    ("kind", "asked"),
    [("code", [SCRIPT] * 8), ("livebench", [SCRIPT.model_copy(update=OF_LIVEBENCH), TYPOS] * 4)],
    ids=["code", "livebench"],
)
def test_scoring_that_was_stopped_goes_on_with_the_answers_that_are_left(tmp_path, monkeypatch, kind, asked):
    rows, answers, out = (tmp_path / name for name in ("rows.jsonl", "answers.jsonl", "out.json"))
    write_lines(rows, asked)
    write_lines(answers, [{"index": index, "response": "```\nprint(1)\n```"} for index in range(8)])
    judged = []

    def stopping(journal, verdict, whole=VerdictJournal.append):
        if len(journal.verdicts) == 3:
            raise KeyboardInterrupt
        whole(journal, verdict)

    def counting(journal, verdict, whole=VerdictJournal.append):
        judged.append(verdict.index)
        whole(journal, verdict)

    monkeypatch.setattr(VerdictJournal, "append", stopping)
    with pytest.raises(KeyboardInterrupt):
        score_file(ScoreStage(scorer=kind), rows, answers, out)
    [partial] = tmp_path.glob(".out.json.*.partial")
    lines = partial.read_text().splitlines(keepends=True)
    partial.write_text("".join(lines[:3])[:-5])  # the third line was not finished
    monkeypatch.undo()
    monkeypatch.setattr(VerdictJournal, "append", counting)
    score_file(ScoreStage(scorer=kind), rows, answers, out)
    kept = [json.loads(line)["index"] for line in lines[:2]]
    assert sorted([*judged, *kept]) == list(range(8))
    scores = ResponseScores.model_validate(read_json(out))
    assert [verdict.index for verdict in scores.verdicts] == list(range(8))
    assert scores.summary.correct == 8
    assert not partial.exists()


def test_verdicts_of_other_answers_are_not_taken_up(tmp_path):
    row = Row(question="q", test_method="stdio", test_input=[""], test_output=["1"])
    texts = ["```\nprint(1)\n```", "```\nprint(2)\n```"]
    paths = {VerdictJournal(tmp_path / "out", [row], [sample(0, text)]).path for text in texts}
    assert len(paths) == 2


def test_scoring_needs_no_torch():
    check = "import sys, opdlm.evaluate.responses\nassert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)

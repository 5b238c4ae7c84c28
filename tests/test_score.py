"""A shard of answers becomes a file of verdicts, or an error that names the file and the line."""

import subprocess
import sys

import pytest

from opdlm.config.evaluation import ScoreStage
from opdlm.data.rows import Row
from opdlm.errors import DataError
from opdlm.evaluate.score import score_shard
from opdlm.files import json_line, read_json
from opdlm.records import Sample, Scores

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


def test_scoring_needs_no_torch():
    check = "import sys, opdlm.evaluate.score\nassert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)

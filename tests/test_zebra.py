"""ZebraLogic: the last grid in JSON counts, and all of its cells."""

import json
from pathlib import Path

import pytest

from opdlm.data.rows import Row
from opdlm.errors import DataError
from opdlm.evaluate.scorers import zebra
from opdlm.records import Sample
from opdlm.verdicts import Verdict

BENCHMARKS = Path(__file__).parents[2] / "shared" / "bench_data"
REAL = BENCHMARKS / "zebralogic_prompts" / "Meta-Llama-3.1-405B-Instruct@hyperbolic.json"
GRID = {"House 1": {"Name": "Eric", "Pet": "cat"}, "House 2": {"Name": "Arnold", "Pet": "dog"}}
GOLD = {"header": ["House", "Name", "Pet"], "rows": [["1", "Eric", "cat"], ["2", "Arnold", "dog"]]}
WRONG = {**GRID, "House 2": {"Name": "Arnold", "Pet": "fish"}}


def answer(grid: dict[str, dict[str, str]]) -> str:
    return json.dumps({"reasoning": "Clue {1} says so.", "solution": grid}, indent=2)


def judged(text: str, finish: str = "stop", gold: object = GOLD) -> Verdict:
    row = Row(question="q", ground_truth_answer=json.dumps(gold))
    sample = Sample(index=0, seed=0, prompt_tokens=1, ids=[1], steps=[0], text=text, finish=finish)
    return zebra.score([row], [sample])[0]


@pytest.mark.parametrize(
    "text",
    [
        answer(GRID),
        f"The set {{a, b}} is clear.\n```json\n{answer(GRID)}\n```\nDone {{}}.",
        f"A draft:\n{answer(WRONG)}\nNo:\n{answer(GRID)}",
        answer(GRID).replace("Eric", " eric ").replace("House 1", "house_1").replace("Pet", "pet"),
        answer(GRID).replace("Clue", "Clue\nby clue"),
        answer({**GRID, "House 1": {"Name": ["Eric"], "Pet": "cat"}}),
        answer(GRID) + "\nIn short: {",
        json.dumps({"answer": {"solution": GRID}}),
        answer(GRID) + '\nChecked: {"clues": 3, "all": {"hold": true}}',
    ],
)
def test_a_grid_with_every_cell_right_scores(text):
    verdict = judged(text)
    assert (verdict.correct, verdict.score, verdict.detail) == (True, 1.0, "4 of 4 cells right")


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (answer(WRONG), 3),
        (answer({"House 1": GRID["House 1"]}), 2),
        (f"{answer(GRID)}\nNo, wait:\n{answer(WRONG)}", 3),
        (answer({}), 0),
        (answer({"House 1": "Eric", "House 2": None}), 0),
    ],
)
def test_one_wrong_cell_loses_the_grid_and_the_share_is_told(text, right):
    verdict = judged(text)
    assert (verdict.reason, verdict.score, verdict.detail) == ("wrong", 0.0, f"{right} of 4 cells right")


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [
        ("Eric has the cat.", "stop", "no_answer"),
        (answer(GRID)[:-3], "length", "truncated"),
        (json.dumps(GRID), "stop", "no_answer"),
        ('{"solution": "___"}', "stop", "no_answer"),
        ('{"a":' * 20000, "length", "truncated"),
    ],
)
def test_without_a_complete_solution_there_is_no_answer(text, finish, reason):
    assert judged(text, finish).reason == reason


@pytest.mark.parametrize("gold", [GRID, {"solution": GRID}, {"solution": GOLD}])
def test_a_row_may_give_its_grid_as_houses(gold):
    assert judged(answer(GRID), gold=gold).correct


@pytest.mark.parametrize("gold", ["___", {}, {"header": ["House", "Name"], "rows": [["1"]]}, [1]])
def test_a_row_whose_solution_is_no_grid_is_an_error_that_names_it(gold):
    with pytest.raises(DataError, match="row 0"):
        judged(answer(GRID), gold=gold)


@pytest.mark.skipif(not REAL.is_file(), reason="the ZebraLogic outputs are not here")
def test_real_answers_are_read():
    records = json.loads(REAL.read_text(encoding="utf-8"))
    grids = [zebra.last_solution(record["output"][0]) for record in records]
    # The third gives up: "No solution provided".
    assert [index for index, grid in enumerate(grids) if grid is None] == [2]
    for record, grid in zip(records, grids, strict=True):
        if grid is not None:
            houses, attributes = (int(size) for size in record["session_id"].split("-")[2].split("x"))
            assert len(grid) == houses * attributes

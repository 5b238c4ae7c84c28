"""Instructions, LiveBench and ZebraLogic: benchmarks with scorers of their own, which read more than an answer."""

import json
from typing import Any

from opdlm.data.readers import livecodebench
from opdlm.data.readers.records import Record, RowFields

NAMES = {"category": "livebench_category", "task": "livebench_task", "livebench_release_date": "livebench_release_date"}
"""LiveBench's names of what a row has by another name."""
CASES = ("public_test_cases", "private_test_cases", "original_json")


def ifeval(record: Record) -> RowFields:
    """A row of IFEval."""
    return {
        "question": record.text("prompt"),
        "key": record.fields.get("key"),
        "domain": "chat",
        **instructions(record),
    }


def instructions(record: Record) -> RowFields:
    """The instructions of a row and their arguments, of which tables hold every one there is, most of them null."""
    names, kwargs = record.fields.get("instruction_id_list"), record.fields.get("kwargs")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise record.error("instruction_id_list", "missing, or not a list of names")
    if not isinstance(kwargs, list) or not all(isinstance(one, dict | None) for one in kwargs):
        raise record.error("kwargs", "missing, or not a list of objects")
    if len(kwargs) != len(names):
        raise record.error("kwargs", f"{len(kwargs)} for {len(names)} instructions")
    given = [{name: value for name, value in (one or {}).items() if value is not None} for one in kwargs]
    return {"instruction_id_list": names, "kwargs": given}


def livebench(record: Record) -> RowFields:
    """A row of a `question.jsonl` of LiveBench: the first turn is the question."""
    turns = record.fields.get("turns")
    if not isinstance(turns, list) or not turns or not isinstance(turns[0], str):
        raise record.error("turns", "missing, or not a list of texts")
    renamed = {NAMES.get(name, name): value for name, value in record.fields.items() if name != "turns"}
    given = Record(record.file, record.place, {**renamed, "question": turns[0]})
    return livebench_fields(given, record.fields.get("ground_truth"))


def livebench_fields(record: Record, ground_truth: Any) -> RowFields:
    """What all rows of LiveBench have, and in `livebench` whatever else a row has, for the scorer of its task.

    The tests of its code tasks are LiveCodeBench's.
    """
    fields: RowFields = {name: record.text(name) for name in ("question", *NAMES.values())}
    taken = {*fields, "ground_truth", "ground_truth_answer", "domain", "subdivision"}
    if record.fields.get("instruction_id_list"):
        fields |= instructions(record)
        taken |= {"instruction_id_list", "kwargs"}
    if record.fields.get("private_test_cases") is not None:
        fields |= livecodebench.tests(record, _function(record))
        taken |= {*CASES}
    fields["ground_truth_answer"] = ground_truth if isinstance(ground_truth, str) else ""
    rest = {name: value for name, value in record.fields.items() if name not in taken and value is not None}
    fields["livebench"] = {**rest, "ground_truth": ground_truth}
    return fields


def _function(record: Record) -> str | None:
    """Name of the function that a code task asks for; it stands in JSON within JSON."""
    original = _decoded(record, "original_json", record.fields.get("original_json"))
    metadata = _decoded(record, "original_json.metadata", original.get("metadata"))
    name = metadata.get("func_name")
    return name if isinstance(name, str) else None


def _decoded(record: Record, field: str, value: Any) -> dict[str, Any]:
    try:
        found = json.loads(value) if isinstance(value, str) else value or {}
    except json.JSONDecodeError as error:
        raise record.error(field, f"not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise record.error(field, "not an object")
    return found


def check_grid(record: Record, solution: str) -> None:
    """Refuse a solution of ZebraLogic that is not a table with a header.

    Raises:
        DataError: it is not `{"header": [...], "rows": [[...], ...]}` with as many cells in each row as in the header.
    """
    grid = _decoded(record, "ground_truth_answer", solution)
    header, rows = grid.get("header"), grid.get("rows")
    if not isinstance(header, list) or not isinstance(rows, list) or not rows:
        raise record.error("ground_truth_answer", "no header and rows")
    if not all(isinstance(row, list) and len(row) == len(header) for row in rows):
        raise record.error("ground_truth_answer", "a row does not have as many cells as the header")

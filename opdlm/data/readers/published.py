"""Our own schema, one object a line, and the published schema (spec 7.1), one JSON list."""

import json
import re

from opdlm.data.readers import instructions, livecodebench
from opdlm.data.readers.choice import listed_options, with_plain_marks
from opdlm.data.readers.records import Record, RowFields
from opdlm.data.rows import Row


def rows(record: Record) -> RowFields:
    """A row of either schema."""
    return _published(record) if record.listed else record.fields


def zebralogic(record: Record) -> RowFields:
    """A published row of ZebraLogic, whose answer is a table in JSON."""
    fields = _published(record)
    instructions.check_grid(record, fields["ground_truth_answer"])
    return fields


def _published(record: Record) -> RowFields:
    given, answer = record.fields, record.fields.get("ground_truth_answer")
    if given.get("livebench_task") is not None:
        return instructions.livebench_fields(record, answer)
    # Fields of no scorer (`source`, `platform`, and `tests_json` of training prompts) have no place in our schema.
    fields = {name: given[name] for name in Row.model_fields if given.get(name) is not None}
    if given.get("instruction_id_list"):
        fields |= instructions.instructions(record)
    if given.get("input_output") is not None:
        fields |= livecodebench.published_tests(record)
    text = answer if isinstance(answer, str) else "" if answer is None else json.dumps(answer, ensure_ascii=False)
    fields["ground_truth_answer"] = text
    if re.fullmatch(r"[A-J]", text) and isinstance(given.get("question"), str):
        fields.setdefault("options", len(listed_options(given["question"])))
        fields["question"] = with_plain_marks(given["question"])
    return fields

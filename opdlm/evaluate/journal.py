"""Answers kept as soon as they are finished, so that none is ever written twice.

The folder belongs to no output of the workflow, which deletes those of a job that failed or was killed.
"""

import hashlib
import json
import os
import time
from collections.abc import Collection
from pathlib import Path
from types import TracebackType

from opdlm.config.answers import GenerateStage
from opdlm.files import hold, json_line, read_journal, sha256
from opdlm.identity import canonical_json, code_hash
from opdlm.records import Record, Sample


class KeptAnswer(Record):
    """An answer, and the wall time since the one before it, or since the start."""

    seconds: float
    sample: Sample


class Journal:
    """Finished answers of one shard, in a file of its own beside those of other shards.

    Answers are taken up wherever they lie in the folder, so another number of shards finds all that is finished.
    The folder's name holds a hash over the settings but for the shard, the rows, the code, the model's weight files (by
    size and time of writing) and its other files: answers of another model or other settings are never taken up.

    Args:
        stage: settings of the generation.
        model: model folder.
        rows: file of the questions.
        kept: folder for the answers of all such generations.
        wanted: rows of this shard, by index.
    """

    def __init__(self, stage: GenerateStage, model: Path, rows: Path, kept: Path, wanted: Collection[int]) -> None:
        self.path = kept / _identity(stage, model, rows) / f"{stage.shard}-of-{stage.shards}.jsonl"
        self.wanted = wanted
        self.answers: dict[int, KeptAnswer] = {}

    def __enter__(self) -> "Journal":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.stream = open(self.path, "ab")
        hold(self.stream, str(self.path))
        own, good = read_journal(self.path, KeptAnswer)
        self.stream.truncate(good)
        for file in sorted(self.path.parent.glob("*.jsonl")):
            found = own if file == self.path else read_journal(file, KeptAnswer)[0]
            self.answers.update({kept.sample.index: kept for kept in found if kept.sample.index in self.wanted})
        self.last = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stream.close()

    def append(self, sample: Sample) -> None:
        """Keep one answer durably."""
        now = time.monotonic()
        kept = KeptAnswer(seconds=now - self.last, sample=sample)
        self.last = now
        self.stream.write(json_line(kept).encode())
        self.stream.flush()
        os.fsync(self.stream.fileno())
        self.answers[sample.index] = kept

    @property
    def samples(self) -> list[Sample]:
        """The answers that are there, in the order of the rows."""
        return [self.answers[index].sample for index in sorted(self.answers)]

    @property
    def seconds(self) -> float:
        """Wall time that they took, in all starts."""
        return sum(kept.seconds for kept in self.answers.values())


def _identity(stage: GenerateStage, model: Path, rows: Path) -> str:
    weights = [
        (file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(model.glob("*.safetensors"))
    ]
    whole = stage.model_copy(update={"shard": 0, "shards": 1})
    code = code_hash(Path(__file__).with_name("generate.py"))
    small = [(file.name, sha256(file)) for file in sorted(model.glob("*.json")) + sorted(model.glob("*.jinja"))]
    described = [entry for entry in small if entry[0] != "cost.json"]
    text = json.dumps([canonical_json(whole), sha256(rows), weights, described, code])
    return hashlib.sha256(text.encode()).hexdigest()[:12]

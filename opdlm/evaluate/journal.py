"""Answers kept as soon as they are finished, so that a generation that is stopped goes on where it was."""

import hashlib
import json
import os
from pathlib import Path
from types import TracebackType

from opdlm.config.evaluation import GenerateStage
from opdlm.files import json_line, read_journal, sha256, write_jsonl
from opdlm.identity import canonical_json
from opdlm.records import Sample


class Journal:
    """Finished answers of one shard, in a hidden file beside the file that they become when all are there.

    The file's name holds a hash over the settings, the rows and the model's weight files (by size and time of
    writing), so answers of another model or other settings are never taken up.

    Args:
        stage: settings of the generation.
        model: model folder.
        rows: file of the questions.
        out: sample file to write in the end.
    """

    def __init__(self, stage: GenerateStage, model: Path, rows: Path, out: Path) -> None:
        self.out = out
        self.path = out.with_name(f".{out.name}.{_identity(stage, model, rows)}.partial")
        self.samples: dict[int, Sample] = {}

    def __enter__(self) -> "Journal":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept, good = read_journal(self.path, Sample)
        self.samples = {sample.index: sample for sample in kept}
        self.stream = open(self.path, "ab")
        self.stream.truncate(good)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stream.close()

    def append(self, sample: Sample) -> None:
        """Keep one answer durably."""
        self.stream.write(json_line(sample).encode())
        self.stream.flush()
        os.fsync(self.stream.fileno())
        self.samples[sample.index] = sample

    def finish(self) -> None:
        """Write the sample file, in the order of the rows, and remove the journal."""
        write_jsonl(self.out, [self.samples[index] for index in sorted(self.samples)])
        self.path.unlink()


def _identity(stage: GenerateStage, model: Path, rows: Path) -> str:
    weights = [
        (file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(model.glob("*.safetensors"))
    ]
    text = json.dumps([canonical_json(stage), sha256(rows), weights])
    return hashlib.sha256(text.encode()).hexdigest()[:12]

"""The verdicts of one shard of answers."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from tqdm import tqdm

from opdlm.config.evaluation import ScorerKind, ScoreStage
from opdlm.data.rows import Row
from opdlm.errors import DataError
from opdlm.evaluate.scorers.registry import PROGRAM_SCORERS, SCORERS, ProgramScorer
from opdlm.files import json_line, read_journal, read_jsonl, write_json
from opdlm.identity import code_hash
from opdlm.records import Record, Sample
from opdlm.verdicts import Scores, Verdict


def score_shard(stage: ScoreStage, rows_file: Path, samples_file: Path, out: Path, unsafe: bool = False) -> None:
    """Judge the answers of a sample file and write `Scores`.

    Args:
        unsafe: run programs without a sandbox where there is no safe way.

    Raises:
        DataError: a file is missing, truncated or malformed, or an answer refers to no row, or to a row that another
            answer refers to.
        SandboxError: programs have to be run, there is no safe way here, and `unsafe` does not permit another.
    """
    rows = read_jsonl(rows_file, Row)
    samples = read_jsonl(samples_file, Sample)
    judge(
        stage.scorer,
        rows,
        samples,
        samples_file,
        out,
        lambda judged: Scores(samples=str(samples_file), verdicts=judged),
        unsafe,
    )


def judge(
    kind: ScorerKind,
    rows: list[Row],
    samples: list[Sample],
    samples_file: Path,
    out: Path,
    record: Callable[[list[Verdict]], Record],
    unsafe: bool = False,
) -> None:
    """Judge answers and write what `record` makes of the verdicts, which are in the answers' order.

    Where programs are run, verdicts are kept one by one beside `out`, so that a start that is stopped goes on later.

    Args:
        samples_file: where the answers come from, for messages.
        unsafe: as for `score_shard`.

    Raises:
        DataError, SandboxError: as `score_shard`.
    """
    _check(samples, len(rows), samples_file)
    if kind not in PROGRAM_SCORERS:  # judging an answer takes milliseconds
        write_json(out, record(SCORERS[kind](rows, samples)).model_dump(mode="json"))
        return
    with VerdictJournal(out, rows, samples) as journal:
        waiting = [sample for sample in samples if sample.index not in journal.verdicts]
        _judge_programs(PROGRAM_SCORERS[kind], rows, waiting, journal, out.name, unsafe)
        write_json(out, record([journal.verdicts[sample.index] for sample in samples]).model_dump(mode="json"))


def _judge_programs(
    scorer: ProgramScorer, rows: list[Row], waiting: list[Sample], journal: "VerdictJournal", name: str, unsafe: bool
) -> None:
    done = len(journal.verdicts)
    with tqdm(initial=done, total=done + len(waiting), desc=name, unit="answer", mininterval=5) as bar:

        def keep(verdict: Verdict) -> None:
            journal.append(verdict)
            bar.update()

        scorer(rows, waiting, keep, unsafe)


def _check(samples: list[Sample], rows: int, file: Path) -> None:
    seen: set[int] = set()
    for number, sample in enumerate(samples, start=1):
        if not 0 <= sample.index < rows:
            raise DataError(f"{file}, sample {number}: index {sample.index}, but there are {rows} rows")
        if sample.index in seen:
            raise DataError(f"{file}, sample {number}: row {sample.index} is answered twice")
        seen.add(sample.index)


Self = TypeVar("Self", bound="VerdictJournal")


class VerdictJournal:
    """Verdicts on answers, in a hidden file beside the file that they are for; it is removed when the block ends well.

    Its name holds a hash over the rows, the answers and the code that judges, so others' verdicts are not taken up.
    """

    def __init__(self, out: Path, rows: list[Row], samples: list[Sample]) -> None:
        self.path = out.with_name(f".{out.name}.{_identity(rows, samples)}.partial")
        self.verdicts: dict[int, Verdict] = {}

    def __enter__(self: Self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept, good = read_journal(self.path, Verdict)
        self.verdicts = {verdict.index: verdict for verdict in kept}
        self._stream = open(self.path, "ab")
        self._stream.truncate(good)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stream.close()
        if kind is None or not self.verdicts:
            self.path.unlink()

    def append(self, verdict: Verdict) -> None:
        """Keep one verdict. If the machine goes down some of the last ones are lost, and made again."""
        self._stream.write(json_line(verdict).encode())
        self._stream.flush()
        self.verdicts[verdict.index] = verdict


def _identity(rows: list[Row], samples: list[Sample]) -> str:
    digest = hashlib.sha256(code_hash(Path(__file__)).encode())
    for record in (*rows, *samples):
        digest.update(json_line(record).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:12]

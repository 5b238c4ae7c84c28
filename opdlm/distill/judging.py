"""How many of a rollout's answers are right. It is only reported: no reward enters the loss (spec 0)."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import opdlm
from opdlm.chat import Tokenizer, answer_text
from opdlm.data.rows import Row
from opdlm.decode.request import Rollout
from opdlm.distill.prompts import order
from opdlm.distill.trainer import Trainer
from opdlm.errors import TrainingError

log = logging.getLogger(__name__)

Judge = Callable[[list[Row], list[str]], list[bool | None]]
"""`judge(questions, answers) -> whether each answer is right`, none where that cannot be told."""


def questions(trainer: Trainer, rollout: int) -> list[Row]:
    """The rows of a rollout's prompts, in the order of its answers."""
    count = trainer.settings.prompts_per_rollout
    asked = order(len(trainer.prompts), trainer.settings.seed, (rollout - 1) * count, count)
    return [trainer.prompts[index].row for index in asked]


class Judging:
    """Has a rollout's answers judged in a thread of its own while the updates run.

    A judge that fails costs the rollout its accuracy, and not the run its life.

    Args:
        judge: without one, no answer is judged.
        tokenizer: turns answers into text.
    """

    def __init__(self, judge: Judge | None, tokenizer: Tokenizer) -> None:
        self.judge, self.tokenizer = judge, tokenizer
        self.thread = ThreadPoolExecutor(1)
        self.pending: Future[list[bool | None]] | None = None

    def begin(self, rows: list[Row], answers: list[Rollout]) -> None:
        """Begin to judge answers; `rows` are their questions, in the same order."""
        if self.judge is not None:
            self.pending = self.thread.submit(self._judged, self.judge, rows, answers)

    def _judged(self, judge: Judge, rows: list[Row], answers: list[Rollout]) -> list[bool | None]:
        return judge(rows, [answer_text(self.tokenizer, answer.ids) for answer in answers])

    def verdicts(self) -> list[bool | None] | None:
        """The verdicts on the answers that were begun last, when they are there; none without a judge."""
        if self.pending is None:
            return None
        try:
            return self.pending.result()
        except (TrainingError, OSError) as error:
            log.warning("the answers of this rollout are not judged: %s", error)
            return None

    def close(self) -> None:
        """Wait for nobody."""
        self.thread.shutdown(wait=False, cancel_futures=True)


class JudgeProcess:
    """A `Judge` that asks another process: `python -m MODULE`, a JSON line of `[row, text]` in, one of verdicts out.

    It is started before training takes any lock, which it would hold for a moment, too; and again should it have died.
    It has a session of its own: what stops training may not take it away before training has finished its rollout.
    """

    def __init__(self, module: str) -> None:
        self.module = module
        self.worker: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "JudgeProcess":
        self.worker = self._started()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def __call__(self, rows: list[Row], texts: list[str]) -> list[bool | None]:
        """The verdicts on some answers.

        Raises:
            TrainingError: the process died.
        """
        line = json.dumps([[row.model_dump(), text] for row, text in zip(rows, texts, strict=True)]).encode() + b"\n"
        self.worker = self.worker or self._started()
        assert self.worker.stdin is not None
        assert self.worker.stdout is not None
        try:
            self.worker.stdin.write(line)
            self.worker.stdin.flush()
            answer = self.worker.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if not answer.endswith(b"\n"):
            self._stop()
            raise TrainingError(f"{self.module} has died; what it printed stands above")
        verdicts: list[bool | None] = json.loads(answer)
        return verdicts

    def _started(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", self.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(opdlm.__file__).parents[1],
            start_new_session=True,
        )

    def _stop(self) -> None:
        worker, self.worker = self.worker, None
        if worker is not None:
            worker.kill()
            worker.wait()

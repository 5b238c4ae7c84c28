"""Which scorer a benchmark's setting `scorer` names."""

from collections.abc import Callable
from typing import Protocol

from opdlm.config.evaluation import ScorerKind
from opdlm.data.rows import Row
from opdlm.evaluate.scorers import choice, code, ifeval, livebench, math, zebra
from opdlm.records import Sample
from opdlm.verdicts import Verdict

Scorer = Callable[[list[Row], list[Sample]], list[Verdict]]


class ProgramScorer(Protocol):
    """A scorer that runs programs: it takes time, tells each verdict when it is final, and may have to be permitted."""

    def __call__(
        self,
        rows: list[Row],
        samples: list[Sample],
        keep: Callable[[Verdict], None] | None = None,
        unsafe: bool = False,
    ) -> list[Verdict]: ...


SCORERS: dict[ScorerKind, Scorer] = {
    "math": math.score,
    "choice": choice.score,
    "code": code.score,
    "ifeval": ifeval.score,
    "livebench": livebench.score,
    "zebra": zebra.score,
}
PROGRAM_SCORERS: dict[ScorerKind, ProgramScorer] = {"code": code.score, "livebench": livebench.score}
"""Those of `SCORERS` that run programs."""

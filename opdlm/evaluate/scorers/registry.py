"""Which scorer a benchmark's setting `scorer` names."""

from collections.abc import Callable

from opdlm.config.evaluation import ScorerKind
from opdlm.data.rows import Row
from opdlm.evaluate.scorers import choice, code, ifeval, livebench, math, zebra
from opdlm.records import Sample, Verdict

Scorer = Callable[[list[Row], list[Sample]], list[Verdict]]

SCORERS: dict[ScorerKind, Scorer] = {
    "math": math.score,
    "choice": choice.score,
    "code": code.score,
    "ifeval": ifeval.score,
    "livebench": livebench.score,
    "zebra": zebra.score,
}

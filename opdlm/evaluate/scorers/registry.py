"""Which scorer a benchmark's setting `scorer` names."""

from collections.abc import Callable

from opdlm.config.evaluation import ScorerKind
from opdlm.data.rows import Row
from opdlm.evaluate.records import Sample, Verdict
from opdlm.evaluate.scorers import choice, code, math

Scorer = Callable[[list[Row], list[Sample]], list[Verdict]]

SCORERS: dict[ScorerKind, Scorer] = {"math": math.score, "choice": choice.score, "code": code.score}

"""What the report page says of all tables together: how near the paper they are, and what they took."""

from dataclasses import dataclass
from statistics import fmean

from opdlm.reporting.cells import Cell
from opdlm.reporting.costs import Spent, Total, combined, total
from opdlm.reporting.formats import signed
from opdlm.reporting.page_tables import NEAR, TableView, tone, training

REACH = 10.0
"""Points from the paper's number to the edge of the strip of differences; what is farther stands on the edge."""


@dataclass(frozen=True, slots=True)
class Dot:
    """A cell on the strip of differences.

    Attributes:
        place: from 0 at the left edge to 1 at the right one.
        text: what it is.
    """

    place: float
    tone: str
    text: str


@dataclass(frozen=True, slots=True)
class Nearness:
    """How near some cells are to the paper.

    Attributes:
        ours: cells with a number of ours.
        wanted: those and the ones that are still empty; not the ones that nobody means to fill.
        beside: those of ours that have the paper's number beside them.
        near: those of them that are at most `NEAR` points away.
        bias: mean difference.
        distance: mean size of the differences.
    """

    ours: int
    wanted: int
    beside: int
    near: int
    bias: float | None
    distance: float | None
    dots: list[Dot]


@dataclass(frozen=True, slots=True)
class Glance:
    """A table in short.

    Attributes:
        evaluation: what its evaluations took.
        training: what the trainings of its models took; none if none was trained here.
    """

    view: TableView
    nearness: Nearness
    evaluation: Total
    training: Total | None


@dataclass(frozen=True, slots=True)
class ModelCost:
    """What a model took over all tables; each evaluation counts once, in however many tables it stands."""

    model: str
    training: Total | None
    evaluation: Total

    @property
    def gpu_hours(self) -> float:
        """Of both that are known."""
        return self.evaluation.gpu_hours + (self.training.gpu_hours if self.training else 0.0)


def glance(table: TableView) -> Glance:
    """A table in short."""
    costs = model_costs([table])
    return Glance(table, nearness([table]), combined(cost.evaluation for cost in costs), trained(costs))


def trained(costs: list[ModelCost]) -> Total | None:
    """What the trainings of some models took together; none if none was trained here."""
    trainings = [cost.training for cost in costs if cost.training is not None]
    return combined(trainings) if trainings else None


def nearness(views: list[TableView]) -> Nearness:
    """How near the cells of some tables are to the paper."""
    cells = [(line.label, cell) for view in views for line in view.table.lines for cell in line.cells]
    compared = [(label, cell, cell.difference) for label, cell in cells if cell.difference is not None]
    sizes = [abs(difference) for _, _, difference in compared]
    return Nearness(
        ours=sum(cell.value is not None for _, cell in cells),
        wanted=sum(cell.origin is not None for _, cell in cells),
        beside=len(compared),
        near=sum(size <= NEAR for size in sizes),
        bias=fmean(difference for _, _, difference in compared) if compared else None,
        distance=fmean(sizes) if compared else None,
        dots=[_dot(label, cell, difference) for label, cell, difference in compared],
    )


def _dot(label: str, cell: Cell, difference: float) -> Dot:
    place = (min(max(difference, -REACH), REACH) + REACH) / (2 * REACH)
    return Dot(place, tone(difference), f"{label}, {cell.column}: {signed(difference)}")


def model_costs(views: list[TableView]) -> list[ModelCost]:
    """What each model took of which a table has a number, in the order in which they come."""
    trainings: dict[str, Spent] = {}
    evaluations: dict[str, dict[str, Spent]] = {}
    for view in views:
        for line in view.table.lines:
            done = {c.origin.merged: c.evaluation for c in line.cells if c.origin and c.evaluation}
            if line.model is None or not done:
                continue
            evaluations.setdefault(line.model, {}).update(done)
            trained = training(line)
            if trained is not None:
                trainings[line.model] = trained
    return [
        ModelCost(model, total([trainings[model]]) if model in trainings else None, total(done.values()))
        for model, done in evaluations.items()
    ]

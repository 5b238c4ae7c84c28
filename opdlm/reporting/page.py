"""The report page: tables, figures, verdicts and costs in one HTML file that needs no other and no network."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from opdlm.config.stages import ReportStage
from opdlm.files import write_text
from opdlm.reporting import formats
from opdlm.reporting.cells import Table
from opdlm.reporting.costs import Total, combined
from opdlm.reporting.drawings import Drawing, read_drawing
from opdlm.reporting.page_summary import Glance, ModelCost, Nearness, glance, model_costs, nearness, trained
from opdlm.reporting.page_tables import NEAR, view
from opdlm.reporting.results import git_version, read_record

TEMPLATES = Path(__file__).with_name("templates")
PAPER = "https://arxiv.org/abs/2606.06712"


@dataclass(frozen=True, slots=True)
class Page:
    """All that the page shows.

    Attributes:
        made: when, in UTC.
        version: commit of the code that made the page; of a table, see there.
        near: points of difference that count as near the paper.
    """

    title: str
    made: str
    version: str | None
    paper: str
    near: float
    tables: list[Glance]
    overall: Nearness
    figures: list[Drawing]
    trainings: list[Drawing]
    runs: list[Drawing]
    costs: list[ModelCost]
    evaluation: Total
    training: Total | None


def write_report(stage: ReportStage, out: Path) -> None:
    """Write the page.

    Raises:
        DataError: a table or a figure is missing or malformed.
    """
    write_text(out, _rendered(_page(stage)))


def _page(stage: ReportStage) -> Page:
    tables = [view(table.name, table.json_file, read_record(Path(table.json_file), Table)) for table in stage.tables]
    drawings = [read_drawing(figure) for figure in stage.figures]
    costs = model_costs(tables)
    return Page(
        title=stage.title,
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        version=git_version(Path(__file__).parent),
        paper=PAPER,
        near=NEAR,
        tables=[glance(table) for table in tables],
        overall=nearness(tables),
        figures=[drawing for drawing in drawings if drawing.kind in ("sweep", "rollout")],
        trainings=[drawing for drawing in drawings if drawing.kind == "training"],
        runs=[drawing for drawing in drawings if drawing.kind == "run"],
        costs=costs,
        evaluation=combined(cost.evaluation for cost in costs),
        training=trained(costs),
    )


def _rendered(page: Page) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for words in (formats.plain, formats.signed, formats.wall, formats.gpu_hours, formats.version):
        environment.filters[words.__name__] = words
    return environment.get_template("page.html.jinja").render(page=page)

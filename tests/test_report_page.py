"""The report page holds every number and every reason, needs nothing outside itself, and fits a screen and a phone."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from opdlm.config.base import from_json
from opdlm.config.stages import CellSource, CurveRun, ReportFigure, ReportStage, ReportTable, TableLine, TableStage
from opdlm.errors import DataError
from opdlm.files import write_jsonl
from opdlm.identity import canonical_json
from opdlm.reporting import formats
from opdlm.reporting.cells import Table
from opdlm.reporting.curves import draw_curves
from opdlm.reporting.drawings import read_drawing
from opdlm.reporting.page import PAPER, write_report
from opdlm.reporting.page_summary import model_costs, nearness
from opdlm.reporting.page_tables import tone, view
from opdlm.reporting.tables import write_table
from tests.browser import lay_out, needs_browser
from tests.test_figures import PAPER_ROLLOUTS, curve_stage
from tests.test_reporting import nothing, source, write_cost, write_merged

BENCHMARKS = [
    "MMLU", "MMLU-Pro", "GPQA-Diamond", "IFEval", "CEval", "LiveBench", "GSM8K", "MATH-500", "AIME-24", "AIME-25",
    "LMB-Hard", "ZebraLogic", "HumanEval", "MBPP", "LCB-v6", "Codeforces",
]  # fmt: skip
NOT_RUN = "published number only: another architecture, which this engine does not decode"
VOID = {"meta", "link", "br", "wbr", "img", "hr"}


class Contents(HTMLParser):
    """What a test looks for in a page.

    Attributes:
        rows: texts of the cells of each line of a table.
        open: elements that are open; all are closed in the end.
    """

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.titles: list[str] = []
        self.rows: list[list[str]] = []
        self.headings: list[str] = []
        self.open: list[str] = []
        self.feed(page.read_text())
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")
        elif tag in ("h1", "h2", "h3"):
            self.headings.append("")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name == "id":
                self.ids.append(value or "")
            elif name in ("href", "src", "srcset", "action", "data", "poster"):
                self.references.append(value or "")
            elif name == "title":
                self.titles.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"th", "td"} & set(self.open[-4:]):
            self.rows[-1][-1] += f" {data.strip()}" if data.strip() else ""
        elif self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings[-1] += data


def cells(folder: Path, name: str, accuracy: float) -> Iterator[CellSource]:
    """A line's: accuracy falls by 1.7 from benchmark to benchmark."""
    for place, benchmark in enumerate(BENCHMARKS):
        file = folder / "merged" / name / f"{benchmark}.json"
        samples = [f"results/samples/{name}/{benchmark}/{seed}/0-of-1.jsonl" for seed in range(2)]
        write_merged(
            file,
            accuracy - 1.7 * place,
            1.5,
            samples,
            accuracy_std=0.5 if benchmark.startswith("AIME") else None,
            accuracy_by_subdivision={"Swahili": 31.5, "Bengali": 42.25} if benchmark == "MMLU" else {},
            published_accuracy=accuracy - 1.7 * place - (0.8 if benchmark == "LiveBench" else 0),
            reasons={"correct": 160, "wrong": 30, "truncated": 7, "timeout": 3},
        )
        costs = [write_cost(folder / "costs" / name / f"{benchmark}{seed}.json", 1800, 1) for seed in range(2)]
        trained = write_cost(folder / "costs" / name / "training.json", 7200, 8)
        yield source(benchmark, str(file), samples, costs=costs, training=trained, logs=[f"{name}.log"])


def line(folder: Path, label: str, model: str, paper_row: str | None, accuracy: float) -> TableLine:
    given = [*cells(folder, model.replace("/", "-"), accuracy)]
    return TableLine(label=label, model=model, decoding="static", paper_row=paper_row, cells=given)


def drawing(folder: Path, name: str) -> Path:
    """A figure of training curves, as the workflow draws it."""
    write_jsonl(
        folder / name / "metrics.jsonl",
        [{"kind": "rollout", "rollout": k, "mean_length": 10 * k, "tokens_per_step": 1 + k / 9} for k in range(1, 9)],
    )
    out = folder / "figures" / f"{name}.svg"
    run = CurveRun(name=name, folder=str(folder / name), block_size=4)
    draw_curves(curve_stage(run, paper=True), PAPER_ROLLOUTS, out)
    return out


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> ReportStage:
    """A table like the paper's first, with two figures of the same drawing."""
    folder = tmp_path_factory.mktemp("report")
    paper = folder / "paper.csv"
    published = [
        f"table1,{row},{name},{41.5 + k},{2.5 if k == 8 else ''}"
        for row in ("A", "B")
        for k, name in enumerate(BENCHMARKS)
    ]
    paper.write_text("table,row,benchmark,value,std\n" + "\n".join(published) + "\n")
    teacher = line(folder, "Teacher, 4B & <more>", "teacher/4B", None, 61)
    (folder / "merged/teacher-4B/IFEval.json").unlink()
    theirs = [nothing(name, NOT_RUN) for name in BENCHMARKS]
    lines = [
        teacher,
        *(line(folder, f"Student {k}", f"run/{k}", "A", 55 + k) for k in range(5)),
        TableLine(label="LLaDA-8B", model=None, decoding=None, paper_row="B", cells=theirs),
    ]
    write_table(
        TableStage(title="Table 1: main results", paper_table="table1", lines=lines), paper, folder / "table1.csv"
    )
    svg = str(drawing(folder, "opdlm-4B"))
    figures = [
        ReportFigure(name="figure3", title="Figure 3: the price of speed", kind="sweep", svg=svg),
        ReportFigure(name="figure6", title="Figure 6: speed while training", kind="training", svg=svg),
        ReportFigure(name="training/opdlm-4B", title="Training of opdlm-4B", kind="run", svg=svg),
    ]
    return ReportStage(
        title="Tables & figures",
        tables=[ReportTable(name="table1", json_file=str(folder / "table1.json"))],
        figures=figures,
    )


@pytest.fixture(scope="module")
def page(stage: ReportStage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "results" / "report.html"
    write_report(from_json(ReportStage, canonical_json(stage)), out)
    return out


@pytest.fixture(scope="module")
def contents(page: Path) -> Contents:
    return Contents(page)


def table(stage: ReportStage) -> Table:
    return Table.model_validate(json.loads(Path(stage.tables[0].json_file).read_text()))


def test_every_number_is_in_its_cell(stage: ReportStage, contents: Contents) -> None:
    lines = table(stage).lines
    header = next(row for row in contents.rows if row[:2] == [" method", " MMLU"])
    assert header == [" method", *(f" {name}" for name in BENCHMARKS), " average", " tokens/ step"]
    first = contents.rows.index(header) + 1
    for line, row in zip(lines, contents.rows[first : first + len(lines)], strict=True):
        assert row[0] == f" {line.label}"
        for cell, text in zip(line.cells, row[1:], strict=False):
            shown = text.split()
            assert cell.value is None or shown[0] == formats.plain(cell.value)
            assert cell.value is not None or shown[0] == "–"
            assert cell.std is None or f"±{formats.plain(cell.std)}" in shown
            assert cell.paper is None or shown[shown.index("paper") + 1] == formats.plain(cell.paper)
            assert cell.difference is None or shown[-1] == formats.signed(cell.difference)


def test_a_cell_as_a_person_computes_it(contents: Contents) -> None:
    """Student 4 begins at 59.0 on MMLU, the paper at 41.5; on AIME-24 it is 13.6 lower and the paper 8 higher."""
    row = next(row for row in contents.rows if row[0] == " Student 4" and len(row) == 19)
    assert row[1].split() == ["59.0", "paper", "41.5", "difference", "+17.5"]
    assert row[9].split() == ["45.4", "±0.5", "paper", "49.5", "±2.5", "difference", "−4.1"]
    # Means of 59 - 1.7 k and 41.5 + k over k = 0 ... 15.
    assert row[17].split() == ["46.2", "paper", "49.0", "difference", "−2.8"]
    assert row[18] == " 1.50"


def test_an_empty_cell_says_why_in_its_tooltip_and_in_a_note(page: Path, contents: Contents) -> None:
    notes = re.findall(r'<li id="(table-table1-note-\d)">(.*?)</li>', page.read_text())
    assert [name for name, _ in notes] == ["table-table1-note-1", "table-table1-note-2"]
    gone = notes[0][1]
    assert gone.endswith("merged/teacher-4B/IFEval.json does not exist")
    assert notes[1][1] == NOT_RUN
    assert contents.titles.count(gone) == 1
    assert contents.titles.count(NOT_RUN) == len(BENCHMARKS)
    competitor = next(row for row in contents.rows if row[0] == " LLaDA-8B")
    assert competitor[1].split() == ["–", "2", "paper", "41.5"]


def test_verdicts_languages_and_files_are_folded_away(page: Path, contents: Contents) -> None:
    verdicts = next(row for row in contents.rows if row[0] == " LiveBench" and len(row) == 10)
    # The teacher: 61 - 5 * 1.7 = 52.5, and 51.7 as the paper's harness counts; the paper has nothing of it.
    assert [text.strip() for text in verdicts[2:]] == ["160", "30", "7", "3", "10", "1.50", "51.7", ""]
    assert [" Student 0", " 42.2", " 31.5"] in [[row[0], *sorted(row[1:], reverse=True)] for row in contents.rows]
    text = page.read_text()
    assert "results/samples/run-0/MMLU/{0/0-of-1,1/0-of-1}.jsonl" in text
    assert "rows r, model m, generate g, score s" in text


def test_costs_by_line_and_by_model(contents: Contents) -> None:
    """Sixteen benchmarks of two half hours each, after two hours of eight GPUs; the teacher lacks one benchmark."""
    student = ["16 h 00 min", "16.0", "2 h 00 min", "16.0"]
    assert [row[1:] for row in contents.rows if row[0] == " Student 1"][-1] == [f" {text}" for text in student]
    model = next(row for row in contents.rows if row[0] == " run/1")
    assert [text.strip() for text in model[1:]] == ["2 h 00 min", "16.0", "16 h 00 min", "16.0", "", "H200"]
    total = [row for row in contents.rows if row[0] == " total"][-1]
    assert [text.strip() for text in total[1:5]] == ["12 h 00 min", "96.0", "95 h 00 min", "95.0"]


def test_the_page_stands_alone(page: Path, contents: Contents) -> None:
    assert len(contents.ids) == len(set(contents.ids))
    local = {reference.removeprefix("#") for reference in contents.references if reference.startswith("#")}
    assert local <= set(contents.ids)
    assert {reference for reference in contents.references if not reference.startswith("#")} == {PAPER, "data:,"}
    assert "//" not in page.read_text().replace(PAPER, "")
    assert not re.search(r"<script|@import|\bon\w+=", page.read_text())
    assert not contents.open


def test_figures_are_inside_and_titled(contents: Contents) -> None:
    assert contents.headings[0] == "Tables & figures"
    titles = ["Figure 3: the price of speed", "Figure 6: speed while training", "Training of opdlm-4B"]
    assert [heading for heading in contents.headings if heading in titles] == titles
    assert {"figure-figure3", "figure-figure6", "figure-training-opdlm-4B"} <= set(contents.ids)


def test_what_is_not_there_or_damaged_is_named(stage: ReportStage, tmp_path: Path) -> None:
    figure = stage.figures[0]
    with pytest.raises(DataError, match=r"gone\.svg does not exist"):
        read_drawing(figure.model_copy(update={"svg": "gone.svg"}))
    (tmp_path / "bad.svg").write_text("<svg")
    with pytest.raises(DataError, match=r"bad\.svg is not SVG"):
        read_drawing(figure.model_copy(update={"svg": str(tmp_path / "bad.svg")}))
    (tmp_path / "old.json").write_text('{"title": "t"}')
    old = stage.model_copy(update={"tables": [ReportTable(name="t", json_file=str(tmp_path / "old.json"))]})
    with pytest.raises(DataError, match=r"old\.json: paper_table: Field required"):
        write_report(old, tmp_path / "report.html")


def test_a_report_of_nothing_is_a_page(tmp_path: Path) -> None:
    write_report(ReportStage(title="Empty", tables=[], figures=[]), tmp_path / "report.html")
    assert Contents(tmp_path / "report.html").headings == ["Empty"]


def test_nearness_and_costs_count_each_thing_once(stage: ReportStage) -> None:
    """Differences are 13.5 + k - 2.7 b for student k and benchmark b."""
    once = view("table1", "table1.json", table(stage))
    near = nearness([once])
    differences = [13.5 + k - 2.7 * b for k in range(5) for b in range(16)]
    assert (near.ours, near.wanted, near.beside) == (95, 96, 80)
    assert near.near == sum(abs(difference) <= 2 + 1e-9 for difference in differences)
    assert near.bias == pytest.approx(sum(differences) / 80)
    assert near.distance == pytest.approx(sum(map(abs, differences)) / 80)
    twice = model_costs([once, once])
    assert [cost.gpu_hours for cost in twice] == [15 + 16, *[16 + 16] * 5]


def test_wording() -> None:
    assert [formats.signed(value) for value in (2.44, -0.31, 0.0, -0.04, None)] == ["+2.4", "−0.3", "0.0", "0.0", ""]
    assert [formats.wall(s) for s in (9.6, 60, 3570, 3599, 100_000, None)] == [
        "10 s", "1 min", "1 h 00 min", "1 h 00 min", "27 h 47 min", ""
    ]  # fmt: skip
    assert [formats.gpu_hours(h) for h in (0, 0.034, 3.14159, 1234.5, None)] == ["0.0", "0.034", "3.1", "1,234", ""]
    assert formats.braced(["a/b/0.c.json", "a/d/1.c.json"]) == "a/{b/0,d/1}.c.json"
    assert [formats.braced(files) for files in ([], ["a/b.c"], ["a.x", "b.y"])] == ["", "a/b.c", "{a.x,b.y}"]
    assert formats.version("0123456789abcdef-dirty") == "0123456789ab with changes"
    assert [tone(d) for d in (None, 0.0, 2.0, 2.1, -5.0, -5.1)] == ["same", "same", "up1", "up2", "down2", "down3"]


@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("unfolded", [False, True])
def test_the_page_fits_a_screen_and_a_phone(page: Path, width: int, unfolded: bool, tmp_path: Path) -> None:
    layout = lay_out(page, width, tmp_path, unfolded)
    assert layout.window == width
    assert layout.content <= width
    assert layout.smallest >= 11
    assert layout.complaints == []

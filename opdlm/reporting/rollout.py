"""Decoding speed beside its floor for each model size and decoding, from what `benchmarks/rollout.py` wrote."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from opdlm.config.stages import RolloutStage
from opdlm.errors import DataError
from opdlm.reporting.plotting import panels, save

SHAPES = ["0.6B", "1.7B", "4B", "8B"]
FLOOR_COLOUR = "black"

Number = Annotated[float | None, BeforeValidator(lambda text: text or None)]
"""None where the file has nothing."""


class Setting(NamedTuple):
    """What measurements must have in common to be compared; a panel of the figure."""

    device: str
    sequences: int
    requests: int
    prompt_tokens: int
    new_tokens: int


class Measurement(BaseModel):
    """A line of the file; its fields are the file's columns."""

    model_config = ConfigDict(allow_inf_nan=False)

    date: str
    commit: str
    device: str
    shape: str
    strategy: str
    sequences: int
    requests: int
    prompt_tokens: int
    new_tokens: int
    tokens_per_second: Number
    forwards_per_token: Number
    tokens_per_step: Number
    ms_per_forward: Number
    tflops: Number
    gbps: Number
    floor_tokens_per_second: Number
    fraction_of_floor: Number
    ceiling_tflops: Number
    ceiling_gbps: Number
    reference_tokens_per_second: Number
    ratio_to_reference: Number

    @property
    def setting(self) -> Setting:
        """Where and for what the speed was measured."""
        return Setting(self.device, self.sequences, self.requests, self.prompt_tokens, self.new_tokens)


def draw_rollout(stage: RolloutStage, out: Path) -> None:
    """Write the figure (SVG, PNG) and the measurements it shows (CSV).

    Of several measurements of the same thing the file's last one is shown; lines without a speed are left out.

    Raises:
        DataError: the file is missing or malformed, or has no speeds.
    """
    measured = [line for line in read_measurements(Path(stage.file)) if line.tokens_per_second is not None]
    if not measured:
        raise DataError(f"{stage.file} has no speeds to draw: tokens_per_second is empty in every line")
    shown = list({(line.setting, line.shape, line.strategy): line for line in measured}.values())
    strategies = list(dict.fromkeys(line.strategy for line in shown))
    colours = {name: colormaps["viridis"](k / max(1, len(strategies) - 1)) for k, name in enumerate(strategies)}
    settings = sorted({line.setting for line in shown})
    figure = panels(len(settings), width=6.0, height=3.6, columns=2)
    for axes, setting in zip(figure.axes, settings, strict=True):
        _draw_panel(axes, setting, [line for line in shown if line.setting == setting], colours)
    bars = [Patch(color=colour, label=name) for name, colour in colours.items()]
    mark = Line2D([], [], color=FLOOR_COLOUR, label="floor; above it the fraction reached")
    figure.legend(handles=[*bars, mark], loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(stage.title)
    body = [[_text(value) for value in line.model_dump().values()] for line in shown]
    save(figure, list(Measurement.model_fields), body, out)


def read_measurements(file: Path) -> list[Measurement]:
    """All lines of the file.

    Raises:
        DataError: the file is missing, lacks a column, or a number cannot be read; the message has line and column.
    """
    try:
        with open(file, encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            _check_columns(reader.fieldnames or [], file)
            return [_measurement(record, f"{file}, line {reader.line_num}") for record in reader]
    except FileNotFoundError:
        raise DataError(f"{file} does not exist; benchmarks/rollout.py writes it") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} is not a CSV file: {error}") from None


def _check_columns(header: Sequence[str], file: Path) -> None:
    missing = [column for column in Measurement.model_fields if column not in header]
    if missing:
        raise DataError(f"{file}, line 1: no column {', '.join(missing)}; benchmarks/rollout.py writes all of them")


def _measurement(record: dict[Any, Any], where: str) -> Measurement:
    if None in record:  # where the reader puts what is too much
        raise DataError(f"{where}: more values than columns; a text that holds commas needs quotes")
    try:
        return Measurement.model_validate({column: text for column, text in record.items() if text is not None})
    except ValidationError as error:
        first = error.errors()[0]
        column = first["loc"][0]
        raise DataError(f"{where}, column {column}: {first['msg']} (got {record[column]!r})") from None


def _draw_panel(axes: Axes, setting: Setting, lines: list[Measurement], colours: dict[str, Any]) -> None:
    shapes = sorted({line.shape for line in lines}, key=_place)
    width = 0.84 / len(colours)
    for line in lines:
        column = list(colours).index(line.strategy) - (len(colours) - 1) / 2
        _draw_bar(axes, line, shapes.index(line.shape) + column * width, width, colours[line.strategy])
    answers = "" if setting.requests == setting.sequences else f"{setting.requests} answers, "
    what = f"{answers}{setting.sequences} sequences, {setting.prompt_tokens} prompt + {setting.new_tokens} new tokens"
    axes.set(title=f"{setting.device}\n{what}", ylabel="tokens/s", xticks=range(len(shapes)), xticklabels=shapes)
    axes.set_axisbelow(True)
    axes.grid(visible=False, axis="x")
    axes.margins(y=0.18)  # room for the fractions


def _draw_bar(axes: Axes, line: Measurement, centre: float, width: float, colour: Any) -> None:
    speed, floor = line.tokens_per_second or 0.0, line.floor_tokens_per_second
    axes.bar(centre, speed, width * 0.9, color=[colour])
    if floor is not None:
        axes.hlines(floor, centre - width * 0.45, centre + width * 0.45, color=FLOOR_COLOUR, linewidth=1.5)
    if line.fraction_of_floor is not None:
        top = (centre, max(speed, floor or 0.0))
        text = f"{line.fraction_of_floor:.0%}"
        axes.annotate(text, top, xytext=(0, 3), textcoords="offset points", ha="center", rotation=90, fontsize=7)


def _place(shape: str) -> tuple[int, str]:
    """Sizes in their order, anything else before them."""
    return (SHAPES.index(shape) if shape in SHAPES else -1, shape)


def _text(value: str | float | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.10g}"

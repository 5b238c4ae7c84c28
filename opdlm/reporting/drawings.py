"""Figures inside an HTML page: SVG files without what belongs to a file of its own."""

import re
from dataclasses import dataclass
from xml.etree import ElementTree

from opdlm.config.stages import ReportFigure
from opdlm.errors import DataError

DROPPED = {"metadata", "style", "script"}
"""Provenance of the drawing program with its links, and styles, which would hold for the whole page."""
PIXELS = {"pt": 4 / 3, "px": 1.0, "in": 96.0, "": 1.0}


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure for the page.

    Attributes:
        anchor: its id on the page.
        svg: an element that can stand in HTML; its ids begin with `anchor`.
        width: in CSS pixels, at its own size.
    """

    anchor: str
    title: str
    kind: str
    svg: str
    width: int


def anchor(*parts: str) -> str:
    """An id for HTML."""
    return "-".join(re.sub(r"[^\w-]+", "-", part) for part in parts)


def read_drawing(figure: ReportFigure) -> Drawing:
    """Read a figure.

    Raises:
        DataError: the file is missing or not SVG.
    """
    name = anchor("figure", figure.name)
    try:
        root = ElementTree.parse(figure.svg).getroot()
    except FileNotFoundError:
        raise DataError(f"{figure.svg} does not exist") from None
    except ElementTree.ParseError as error:
        raise DataError(f"{figure.svg} is not SVG: {error}") from None
    width = _pixels(root.attrib.pop("width", "640"), figure.svg)
    root.attrib.pop("height", None)
    _adapt(root, name)
    root.attrib.update({"role": "img", "aria-label": figure.title})
    svg = ElementTree.tostring(root, encoding="unicode")
    return Drawing(anchor=name, title=figure.title, kind=figure.kind, svg=svg, width=width)


def _pixels(length: str, file: str) -> int:
    parts = re.fullmatch(r"([\d.]+)(pt|px|in|)", length)
    if parts is None:
        raise DataError(f"{file}: width '{length}' is no length that this page knows")
    return round(float(parts[1]) * PIXELS[parts[2]])


def _adapt(element: ElementTree.Element, name: str) -> None:
    """Take out what HTML has no use for, and make ids the figure's own, in this element and all below it."""
    element.tag = _local(element.tag)
    for key in list(element.attrib):
        value = element.attrib.pop(key)
        element.attrib[_local(key)] = _own(_local(key), value, name)
    for child in list(element):
        if _local(child.tag) in DROPPED:
            element.remove(child)
        else:
            _adapt(child, name)


def _local(name: str) -> str:
    """Without its namespace, which HTML knows."""
    return name.rpartition("}")[2]


def _own(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return re.sub(r"^#", f"#{name}-", value)
    if key == "d":
        return re.sub(r"(\.\d\d)\d+", r"\1", value)  # a hundredth of a point cannot be seen
    return value.replace("url(#", f"url(#{name}-")

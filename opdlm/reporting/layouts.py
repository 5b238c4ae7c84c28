"""A table of texts as CSV, Markdown and HTML."""

import csv
import html
import io

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em; color: #222; }
table { border-collapse: collapse; }
th, td { padding: .3em .8em; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
"""


def csv_text(header: list[str], body: list[list[str]]) -> str:
    """All columns, comma-separated."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([header, *body])
    return stream.getvalue()


def markdown_text(header: list[str], body: list[list[str]]) -> str:
    """The columns that are not empty, aligned so that the plain text reads well."""
    kept = _filled(header, body)
    lines = [[row[column] for column in kept] for row in [header, *body]]
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(kept))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    texts = [_aligned(lines[0], widths), "| " + " | ".join(rule) + " |"]
    texts += [_aligned(line, widths) for line in lines[1:]]
    return "\n".join(texts) + "\n"


def html_text(title: str, header: list[str], body: list[list[str]]) -> str:
    """The columns that are not empty, as a page of its own."""
    kept = _filled(header, body)
    rows = [_html_row("th", header, kept), *(_html_row("td", row, kept) for row in body)]
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{STYLE}</style>'
    lines = "\n".join(rows)
    return f"<!doctype html>\n{head}\n<h1>{html.escape(title)}</h1>\n<table>\n{lines}\n</table>\n"


def _filled(header: list[str], body: list[list[str]]) -> list[int]:
    return [column for column in range(len(header)) if any(row[column] for row in body)]


def _aligned(line: list[str], widths: list[int]) -> str:
    first = line[0].ljust(widths[0])
    rest = [text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True)]
    return "| " + " | ".join([first, *rest]) + " |"


def _html_row(tag: str, row: list[str], kept: list[int]) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(row[column])}</{tag}>" for column in kept) + "</tr>"

"""One page that shows a run: self-contained HTML with figures, tables and nothing to load."""

import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from tfcamp.data.storage import whole_file
from tfcamp.errors import UserError
from tfcamp.figures.inline import inline_svg
from tfcamp.figures.style import SHADES, printable, text_width

# Up to this width, in CSS pixels, two figures stand side by side.
_HALF = 460
# Figures shrink to this share on a phone, so that 12 px letters stay at 9; then they scroll.
_LEAST_HALF, _LEAST_WHOLE = 0.76, 0.86
_LONG = 12  # in letter heights; a wider cell may break its line


@dataclass(frozen=True)
class Table:
    """Rows under a header; the first column names the row.

    Attributes:
      header: column names.
      rows: cells; numbers are formatted and aligned at the right, all else is shown as text.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Section:
    """A part of the page: a title with text, a figure and a table, each as given.

    Attributes:
      title: heading of the section.
      text: what to see here; an empty line begins a new paragraph.
      figure_svg: an SVG document, as `figure_svg` makes it.
      figure_alt: what the figure shows, for those who cannot see it; the title when left out.
      table: shown below the figure.
    """

    title: str
    text: str = ""
    figure_svg: str | None = None
    figure_alt: str = ""
    table: Table | None = None


def write_report(
    path: Path | str,
    *,
    title: str,
    config: Mapping[str, Any],
    metrics: Mapping[str, Any],
    sections: Sequence[Section],
    environment: Mapping[str, Any] | None = None,
    subtitle: str = "",
    lang: str = "en",
) -> None:
    """Writes a report as a single HTML file that makes no request and runs no script.

    Args:
      path: of the file; its folder is made when missing.
      title: of the page.
      config: option -> value, folded away at the end.
      metrics: headline figures, name -> number or text; a mapping as value, say of a split's
        figures, becomes a column of a table with these names as rows.
      sections: the body. Neighbours with a small figure or a narrow table stand side by side.
      environment: versions and device, folded away at the end.
      subtitle: one line below the title: what was trained on what.
      lang: language of the page; cells with Chinese text are marked as Chinese by themselves.

    Raises:
      UserError: the file cannot be written.
      ValueError: a section's figure is no SVG, or a row does not fit its header.
    """
    single = {name: value for name, value in metrics.items() if not isinstance(value, Mapping)}
    splits = {name: value for name, value in metrics.items() if isinstance(value, Mapping)}
    names = list(dict.fromkeys(name for split in splits.values() for name in split))
    body = [_section(section, i) for i, section in enumerate(sections)]
    if splits:
        rows = [
            [_words(name), *(split.get(name, "") for split in splits.values())] for name in names
        ]
        table = Table(["", *map(_words, splits)], rows)
        body.insert(
            0, f"<section>\n<h2>Summary</h2>\n{_scroll(_table(table), 'Summary')}\n</section>"
        )
    body += [
        _folded(heading, values)
        for heading, values in (("Configuration", config), ("Environment", environment or {}))
        if values
    ]
    page = _PAGE.format(
        lang=_escape(lang),
        title=_escape(title),
        css=_css(),
        heading=f"<h1{_lang(title)}>{_escape(title)}</h1>",
        subtitle=f'<p class="subtitle"{_lang(subtitle)}>{_escape(subtitle)}</p>'
        if subtitle
        else "",
        headline=_headline(single),
        body="\n".join(body),
    )
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(page.encode())
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error


def format_value(value: Any) -> str:
    """Returns a value as a reader wants it: counts with separators, about four digits of the rest.

    >>> [format_value(value) for value in (97873, 0.91854, 0.0, 3e-05, 1234.5, float("nan"), None)]
    ['97,873', '0.9185', '0', '3.00e-05', '1,234', '–', '–']
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {format_value(item)}" for key, item in value.items())
    if isinstance(value, Sequence):
        return ", ".join(map(format_value, value))
    if not _is_number(value):
        return str(value)
    number = float(value)
    if not math.isfinite(number):
        return "–"
    if number == 0 or hasattr(value, "__index__"):
        return f"{round(number):,}"
    size = abs(number)
    if size < 1e-3:
        return f"{number:.2e}"
    return f"{number:,.0f}" if size >= 1000 else f"{number:.1f}" if size >= 10 else f"{number:.4f}"


_PAGE = """<!doctype html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" \
content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<style>
{css}</style>
</head>
<body>
<header>
{heading}
{subtitle}
{headline}
</header>
<main>
{body}
</main>
</body>
</html>
"""


def _css() -> str:
    def variables(theme: str) -> str:
        colors = ((name.replace("_", "-"), getattr(shade, theme)) for name, shade in SHADES.items())
        return " ".join(f"--{name}: {color};" for name, color in colors)

    rules = resources.files("tfcamp.figures").joinpath("report.css").read_text("utf-8")
    dark = f"@media (prefers-color-scheme: dark) {{ :root {{ {variables('dark')} }} }}"
    return f":root {{ {variables('light')} }}\n{dark}\n{rules}"


def _headline(figures: Mapping[str, Any]) -> str:
    if not figures:
        return ""
    items = "\n".join(
        f"<div><dt>{_escape(_words(name))}</dt><dd>{_escape(format_value(value))}</dd></div>"
        for name, value in figures.items()
    )
    return f'<dl class="headline">\n{items}\n</dl>'


def _section(section: Section, number: int) -> str:
    parts = [f"<h2{_lang(section.title)}>{_escape(section.title)}</h2>"]
    for paragraph in re.split(r"\n\s*\n", section.text.strip()):
        if paragraph:
            parts.append(f"<p{_lang(paragraph)}>{_escape(paragraph)}</p>")
    half = False
    if section.figure_svg is not None:
        label = printable(section.figure_alt or section.title)
        svg, width = inline_svg(section.figure_svg, f"figure{number}-", label)
        half = width <= _HALF and section.table is None
        least = width * (_LEAST_HALF if width <= _HALF else _LEAST_WHOLE)
        size = f"max-width: {width:.0f}px; min-width: {least:.0f}px"
        scroll = _scroll(f'<div style="{size}">{svg}</div>', section.title)
        parts.append(f"<figure{_lang(svg)}>{scroll}</figure>")
    elif section.table is not None:
        cells = (cell for row in section.table.rows for cell in row)
        half = len(section.table.header) <= 5 and not any(map(_is_long, cells))
    if section.table is not None:
        parts.append(_scroll(_table(section.table), section.title))
    css_class = ' class="half"' if half else ""
    return f"<section{css_class}>\n" + "\n".join(parts) + "\n</section>"


def _folded(heading: str, values: Mapping[str, Any]) -> str:
    # As given: an option is looked up to be typed again, not to be compared at a glance.
    table = _table(Table(["name", "value"], [[key, str(values[key])] for key in values]))
    summary = f"<summary>{heading} <span>{len(values)} entries</span></summary>"
    return f"<details>{summary}{_scroll(table, heading)}</details>"


def _scroll(content: str, label: str) -> str:
    """What is wider than a phone scrolls by itself, by keyboard too, and not the whole page."""
    label = _escape(f"{label}, scrollable")
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{label}">{content}</div>'


def _table(table: Table) -> str:
    for row in table.rows:
        if len(row) != len(table.header):
            raise ValueError(f"a row of {len(row)} cells under {len(table.header)} columns: {row}")
    numeric = [
        bool(table.rows) and all(_is_number(row[i]) or row[i] in ("", None) for row in table.rows)
        for i in range(len(table.header))
    ]
    head = "".join(
        f'<th scope="col"{_class("number" if numeric[i] else "")}>{_escape(name)}</th>'
        if name
        else "<td></td>"
        for i, name in enumerate(table.header)
    )
    rows = "\n".join(
        "<tr>" + "".join(_cell(i, value, numeric[i]) for i, value in enumerate(row)) + "</tr>"
        for row in table.rows
    )
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"


def _cell(column: int, value: Any, numeric: bool) -> str:
    text = format_value(value)
    tag, scope = ("th", ' scope="row"') if column == 0 else ("td", "")
    kind = "number" if numeric else "long" if _is_long(value) else ""
    return f"<{tag}{scope}{_class(kind)}{_lang(text)}>{_escape(text)}</{tag}>"


def _is_long(value: Any) -> bool:
    return text_width(format_value(value), size=1) > _LONG


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _lang(text: str) -> str:
    """Han characters have other shapes in Japanese fonts, so Chinese is said to be Chinese."""
    chinese = re.search(r"[\u4e00-\u9fff]", text) and not re.search(r"[\u3040-\u30ff]", text)
    return ' lang="zh"' if chinese else ""


def _words(name: str) -> str:
    return name.replace("_", " ")


def _is_number(value: Any) -> bool:
    # NumPy's numbers too, which are no subclasses of int or, float64 apart, of float.
    return not isinstance(value, bool | str) and hasattr(value, "__float__")


def _escape(text: str) -> str:
    return html.escape(printable(text))

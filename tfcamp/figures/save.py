"""Figures become files: SVG with real text everywhere, PNG where a font can draw its text."""

import warnings
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Text

from tfcamp.errors import UserError
from tfcamp.figures.style import drawing

# What the reader's machine is asked for, in this order; one of them is on most of them.
SVG_FONTS = (
    "Noto Sans CJK SC",
    "Source Han Sans SC",
    "PingFang SC",
    "Microsoft YaHei",
    "WenQuanYi Zen Hei",
)
_FONTS = (
    *SVG_FONTS,
    "Noto Sans SC",
    "Source Han Sans CN",
    "Hiragino Sans GB",
    "Heiti SC",
    "STHeiti",
    "SimHei",
    "WenQuanYi Micro Hei",
    "Noto Sans CJK JP",  # all that older matplotlib sees of the Noto collection
    "Droid Sans Fallback",
    "Arial Unicode MS",
    "AR PL UMing CN",
    "AR PL UKai CN",
)
_FALLBACK = "DejaVu Sans"  # comes with matplotlib
_PNG_DPI = 144  # two pixels for each CSS pixel


class SavedFigure(NamedTuple):
    """What `save_figure` wrote.

    Attributes:
      svg: the SVG file.
      png: the PNG file, or None when no font could draw its text.
      note: one line for the user that says why there is no PNG, or None.
    """

    svg: Path
    png: Path | None
    note: str | None


def save_figure(figure: Figure, folder: Path | str, name: str) -> SavedFigure:
    """Writes a figure as ``name.svg`` and, if its text can be drawn, as ``name.png``.

    Equal figures make equal bytes. The SVG holds text as text, which the reader's fonts show. A PNG
    needs a font here and now; where a character has none there is no PNG rather than empty boxes.

    Args:
      figure: made by a function of this package.
      folder: made when missing.
      name: of the files, without an ending.

    Raises:
      UserError: the files cannot be written.
    """
    folder = Path(folder)
    svg, png = folder / f"{name}.svg", folder / f"{name}.png"
    families, note = _find_fonts(figure)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        svg.write_text(figure_svg(figure), encoding="utf-8", newline="\n")
        if families is None:
            png.unlink(missing_ok=True)  # of an earlier run
            return SavedFigure(svg, None, note)
        png.write_bytes(_figure_png(figure, families))
        return SavedFigure(svg, png, None)
    except OSError as error:
        raise UserError(
            f"{error.filename or folder}: cannot be written: {error.strerror or error}"
        ) from error


def figure_svg(figure: Figure) -> str:
    """Returns a figure as the text of an SVG file, equal for equal figures."""
    file = BytesIO()
    with drawing(), _ignore_missing_glyphs():
        # No date, so that the same run writes the same file.
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None})
    fonts = ", ".join(f"'{name}'" for name in SVG_FONTS)
    measured = f"font-family: '{_FALLBACK}', sans-serif"
    return file.getvalue().decode().replace(measured, f"font-family: {fonts}, sans-serif")


def _figure_png(figure: Figure, families: list[str]) -> bytes:
    texts = _texts(figure)
    before = [text.get_fontfamily() for text in texts]
    file = BytesIO()
    with drawing():
        try:
            for text in texts:
                text.set_fontfamily(families)
            FigureCanvasAgg(figure)
            figure.savefig(file, format="png", dpi=_PNG_DPI, metadata={"Software": None})
        finally:
            for text, family in zip(texts, before, strict=True):
                text.set_fontfamily(family)
    return file.getvalue()


def _find_fonts(figure: Figure) -> tuple[list[str] | None, str | None]:
    """Returns the families that draw all of a figure's text, or None and the line that says why."""
    characters = {character for text in _texts(figure) for character in text.get_text()} - {"\n"}
    missing = {character for character in characters if ord(character) not in _glyphs(_FALLBACK)}
    if not missing:
        return [_FALLBACK], None
    installed = _installed_chinese_fonts()
    for family in installed:
        missing_here = {it for it in missing if ord(it) not in _glyphs(family)}
        if not missing_here:
            return [family, _FALLBACK], None
    if installed:
        shown = "".join(sorted(missing)[:5])
        return None, f"no font here has all of {shown}: no PNG of this figure, but its SVG"
    # The same words for every figure, since a run says each note once.
    return None, (
        "no font found for Chinese text: figures that have some are written as SVG only; "
        "for PNG install one, for example: apt install fonts-noto-cjk"
    )


def _installed_chinese_fonts() -> list[str]:
    """Returns those of the families known above that are here, the best first."""
    manager = font_manager.fontManager
    if not {entry.name for entry in manager.ttflist} & set(_FONTS):
        # matplotlib keeps its list of fonts from the day it first ran: a font that was installed
        # since, perhaps because the note above said so, is not in it.
        listed = {entry.fname for entry in manager.ttflist}
        for path in font_manager.findSystemFonts():
            if path not in listed:
                # Not every font on a system is one that matplotlib can read.
                with suppress(OSError, RuntimeError, ValueError):
                    manager.addfont(path)
    names = {entry.name for entry in manager.ttflist}
    return [family for family in _FONTS if family in names]


@cache
def _glyphs(family: str) -> Set[int]:
    properties = font_manager.FontProperties(family=family)
    path = font_manager.findfont(properties, fallback_to_default=False)
    return font_manager.get_font(path).get_charmap().keys()


@contextmanager
def _ignore_missing_glyphs() -> Iterator[None]:
    """For SVG, where the reader's font draws the text and matplotlib's only measures it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        warnings.filterwarnings("ignore", "Matplotlib currently does not support", UserWarning)
        yield


def _texts(figure: Figure) -> list[Text]:
    """Returns all text of a figure, tick labels too, which exist only once it has been drawn."""
    FigureCanvasAgg(figure)
    with drawing(), _ignore_missing_glyphs():
        figure.draw_without_rendering()
    return [
        text
        for text in figure.findobj(Text)
        if isinstance(text, Text) and text.get_visible() and text.get_text()
    ]

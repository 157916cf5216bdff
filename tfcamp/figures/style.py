"""The look that all figures share: colours, type and how text is measured.

Figures are drawn with matplotlib's object API (no pyplot, so no window and no global figure list).
One unit of length is one CSS pixel of the report, so a 12-unit letter reads as 12 px there.
"""

import re
import unicodedata
from contextlib import AbstractContextManager
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure


class Shade(NamedTuple):
    """A colour on light paper, in which figures are drawn, and its counterpart on dark paper."""

    light: str
    dark: str


# The series colours are those of Okabe and Ito (2008), "Color Universal Design", darkened until
# each has a contrast of 4.5 with the paper, so that labels can have the colour of their line.
SHADES = {
    "paper": Shade("#fdfdfb", "#15191d"),
    "ink": Shade("#1e2429", "#e4e7ea"),
    "muted": Shade("#5b656e", "#9ca7b0"),
    "rule": Shade("#d9dee2", "#2f373f"),
    # A deep fill and the letters on it: deep on both papers.
    "fill": Shade("#0b63a4", "#1f6bad"),
    "on_fill": Shade("#fffffe", "#fffffe"),
    "blue": Shade("#0b63a5", "#62b0ea"),
    "vermilion": Shade("#b94a0a", "#f0935c"),
    "green": Shade("#00755a", "#4cc09f"),
    "purple": Shade("#9c4a80", "#dc9cc5"),
    "ochre": Shade("#8a6200", "#dab24c"),
    "slate": Shade("#4f5b93", "#a3aee6"),
}
PAPER, INK, MUTED, RULE, FILL, ON_FILL = (
    SHADES[name].light for name in ("paper", "ink", "muted", "rule", "fill", "on_fill")
)
BLUE, VERMILION, GREEN = (SHADES[name].light for name in ("blue", "vermilion", "green"))
SERIES = tuple(
    SHADES[name].light for name in ("blue", "vermilion", "green", "purple", "ochre", "slate")
)

SIZE = 12.0  # of text
SMALL = 11.0

_UNITS_PER_INCH = 72


def drawing() -> AbstractContextManager[None]:
    """Returns the settings under which every figure is made and saved."""
    return matplotlib.rc_context(
        {
            "font.family": "sans-serif",
            # Always measured with the font that matplotlib brings: the SVG is then the same on
            # every machine.
            "font.sans-serif": ["DejaVu Sans"],
            "font.size": SIZE,
            # A "$" in a headline is money.
            "text.parse_math": False,
            "text.color": INK,
            "axes.labelcolor": MUTED,
            "axes.labelsize": SMALL,
            "xtick.labelsize": SMALL,
            "ytick.labelsize": SMALL,
            "axes.edgecolor": MUTED,
            "axes.linewidth": 0.8,
            "axes.facecolor": "none",
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "grid.color": RULE,
            "grid.linewidth": 0.8,
            "xtick.color": MUTED,
            "ytick.color": MUTED,
            "lines.solid_capstyle": "round",
            "figure.facecolor": PAPER,
            "savefig.facecolor": PAPER,
            "svg.fonttype": "none",
            "svg.hashsalt": "tfcamp",
        }
    )


def new_figure(width: float, height: float) -> Figure:
    """Returns an empty figure of a size in CSS pixels; call it and draw inside `drawing()`."""
    return Figure(figsize=(width / _UNITS_PER_INCH, height / _UNITS_PER_INCH), dpi=_UNITS_PER_INCH)


def add_axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Returns axes at a place in CSS pixels from the figure's top left corner.

    Margins are given, not found by matplotlib's layout engines: those measure Chinese with whatever
    font there is, and may find none.
    """
    across, down = figure.get_size_inches() * _UNITS_PER_INCH
    return figure.add_axes(
        (left / across, 1 - (top + height) / down, width / across, height / down)
    )


def text_width(text: str, size: float = SIZE) -> float:
    """Returns how wide a text is at most, in CSS pixels, whatever font will show it.

    >>> text_width("体育", size=10)
    20.0
    """
    wide = sum(unicodedata.east_asian_width(character) in "WFA" for character in text)
    return size * (wide + 0.62 * (len(text) - wide))


def printable(text: str) -> str:
    r"""Returns the text with what no font can show, and XML forbids, as the replacement character.

    >>> printable("a\x00b\nc")
    'a�b c'
    """
    return _UNPRINTABLE.sub("\ufffd", re.sub(r"[\t\n\r]+", " ", text))


def fitted(text: str, widest: float, size: float = SIZE) -> str:
    """Returns the printable text, ended by an ellipsis where it is wider than so many CSS pixels.

    >>> fitted("a long name", 40, size=10)
    'a lo…'
    """
    text = printable(text)
    if text_width(text, size) <= widest:
        return text
    while text and text_width(text + "…", size) > widest:
        text = text[:-1]
    return text.rstrip() + "…"


# Control characters, direction marks (which would reorder a label's surroundings), surrogates and
# non-characters.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)

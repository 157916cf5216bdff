"""How long sentences fare, and translations beside what a human wrote."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from tfcamp.figures.report import Table
from tfcamp.figures.style import (
    BLUE,
    INK,
    SIZE,
    SMALL,
    add_axes,
    drawing,
    new_figure,
)

if TYPE_CHECKING:  # it brings sacrebleu, and draws nothing
    from tfcamp.metrics.translation import LengthBand


def bleu_by_length(by_length: "Sequence[LengthBand]", *, unit: str = "tokens") -> Figure:
    """Draws BLEU by the length of the source, each with its interval.

    Args:
      by_length: as in `TranslationReport.by_length`.
      unit: what the length is counted in.

    Raises:
      ValueError: there are no lengths.
    """
    if not by_length:
        raise ValueError("there are no lengths to draw")
    left, top, height = 44, 30, 170
    width = max(440, left + 20 + 60 * len(by_length))
    with drawing():
        figure = new_figure(width, top + height + 56)
        axes = add_axes(figure, left, top, width - left - 20, height)
        axes.set_title("BLEU", loc="left", fontsize=SIZE, fontweight="bold", pad=9)
        highest = max(band.bleu.high for band in by_length)
        # The next ten, and room for the value on the bar.
        end = 10 * math.ceil((highest + 4) / 10)
        axes.set(ylim=(0, end), xlim=(-0.6, len(by_length) - 0.4))
        axes.set_yticks(range(0, end + 1, 10 if end <= 60 else 20))
        axes.grid(axis="y")
        for place, band in enumerate(by_length):
            axes.bar(place, band.bleu.value, width=0.72, color=BLUE, alpha=0.8)
            # Value and interval stand side by side on the bar.
            axes.plot([place + 0.24] * 2, [band.bleu.low, band.bleu.high], color=INK, linewidth=1.6)
            axes.annotate(
                f"{band.bleu.value:.1f}",
                (place - 0.36, band.bleu.value),
                xytext=(0, 4),
                textcoords="offset points",
                color=INK,
                fontsize=SMALL,
            )
        labels = [f"{band.name}\n{band.support:,}" for band in by_length]
        axes.set_xticks(range(len(by_length)), labels)
        axes.set_xlabel(f"source {unit}, and number of sentences (line: 95 % interval)")
        axes.tick_params(length=0, pad=6)
        axes.spines["left"].set_visible(False)
    return figure


def translation_table(
    sources: Sequence[str], translations: Sequence[str], references: Sequence[str]
) -> Table:
    """Returns sentences with what the model and what a human made of them, side by side.

    Raises:
      ValueError: there is not one of each for a row.

    >>> translation_table(["Ein Hund."], ["A dog."], ["One dog."]).rows
    [['Ein Hund.', 'A dog.', 'One dog.']]
    """
    rows = [list(row) for row in zip(sources, translations, references, strict=True)]
    return Table(["source", "translation", "reference"], rows)

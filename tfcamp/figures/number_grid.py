"""Pictures with what was read on them, where the model looked, and how length matters."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from tfcamp.figures.style import (
    BLUE,
    INK,
    MUTED,
    SIZE,
    SMALL,
    VERMILION,
    add_axes,
    drawing,
    new_figure,
    printable,
)

if TYPE_CHECKING:  # it brings TensorFlow, hence Keras, hence pyplot and its global figure list
    from tfcamp.metrics.sequence import LengthScores

_COLUMNS = 5
_ORANGE = np.array([255, 120, 0])
_TILE_WIDTH, _TILE_HEIGHT, _GAP, _CAPTION = 128, 64, 14, 32


class NumberTile(NamedTuple):
    """A picture in a grid.

    Attributes:
      image: uint8[H, W, 3].
      number: what is on it.
      predicted: what the model read; "" for nothing.
      probability: how sure it was.
      heat: float[h, w] >= 0, which places speak for the answer; None for no second picture.
    """

    image: np.ndarray
    number: str
    predicted: str
    probability: float
    heat: np.ndarray | None = None


def number_grid(tiles: Sequence[NumberTile], *, columns: int = _COLUMNS) -> Figure:
    """Draws pictures in rows, each with what was read on it and, in brackets, what is there.

    A picture with heat is drawn twice, the second time in grey with what the model looks at in
    orange.

    Args:
      tiles: from left to right, from top to bottom.
      columns: pictures beside each other.

    Raises:
      ValueError: there are no pictures.
    """
    if not tiles:
        raise ValueError("there are no pictures to draw")
    with_heat = any(tile.heat is not None for tile in tiles)
    height = _TILE_HEIGHT * (2 if with_heat else 1) + (4 if with_heat else 0)
    across, down = _TILE_WIDTH + _GAP, height + _CAPTION + _GAP
    columns = min(columns, len(tiles))
    with drawing():
        figure = new_figure(columns * across + _GAP, math.ceil(len(tiles) / columns) * down + _GAP)
        for i, tile in enumerate(tiles):
            left, top = _GAP + (i % columns) * across, _GAP + (i // columns) * down
            _show(figure, left, top, tile.image)
            if tile.heat is not None:
                _show(figure, left, top + _TILE_HEIGHT + 4, _glowing(tile.image, tile.heat))
            caption = add_axes(figure, left, top + height, _TILE_WIDTH, _CAPTION)
            caption.set_axis_off()
            right = tile.number == tile.predicted
            caption.text(
                0,
                0.42,
                printable(tile.predicted) or "–",
                color=BLUE if right else VERMILION,
                fontsize=SIZE,
                fontweight="bold",
                va="center",
            )
            caption.text(
                1,
                0.42,
                f"{'' if right else f'({printable(tile.number)})  '}{100 * tile.probability:.0f} %",
                color=MUTED,
                fontsize=SMALL,
                ha="right",
                va="center",
            )
    return figure


def accuracy_by_length(by_length: "Sequence[LengthScores]") -> Figure:
    """Draws the share of whole numbers that were read right, for each number of digits.

    Args:
      by_length: as in `NumberReport.by_length`.

    Raises:
      ValueError: there are no lengths.
    """
    if not by_length:
        raise ValueError("there are no lengths to draw")
    left, top, height, width = 44, 30, 150, 440
    with drawing():
        figure = new_figure(width, top + height + 56)
        axes = add_axes(figure, left, top, width - left - 20, height)
        axes.set_title("Whole numbers right", loc="left", fontsize=SIZE, fontweight="bold", pad=9)
        axes.set(ylim=(0, 1), xlim=(-0.6, len(by_length) - 0.4))
        axes.grid(axis="y")
        for place, row in enumerate(by_length):
            axes.bar(place, row.accuracy, width=0.6, color=BLUE, alpha=0.8)
            axes.plot(
                [place - 0.3, place + 0.3], [row.length_accuracy] * 2, color=VERMILION, linewidth=2
            )
            axes.text(
                place,
                max(row.accuracy - 0.07, 0.05),
                f"{row.accuracy:.2f}",
                color=INK,
                fontsize=SMALL,
                ha="center",
                va="center",
            )
        labels = [f"{row.length}\n{row.support:,}" for row in by_length]
        axes.set_xticks(range(len(by_length)), labels)
        axes.set_xlabel("digits, and how many numbers have them (line: right length)")
        axes.tick_params(length=0, pad=6)
        axes.spines["left"].set_visible(False)
    return figure


def _show(figure: Figure, left: float, top: float, image: np.ndarray) -> None:
    axes = add_axes(figure, left, top, _TILE_WIDTH, _TILE_HEIGHT)
    axes.imshow(image, aspect="auto", interpolation="nearest")
    axes.set_axis_off()


def _glowing(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Returns the image in grey, uint8[H, W, 3], and orange where the heat is."""
    height, width = image.shape[:2]
    # Each place of the maps stands for a field of the image; in between it is interpolated.
    rows = np.interp(*_places(height, heat.shape[0]), np.arange(heat.shape[0]))
    columns = np.interp(*_places(width, heat.shape[1]), np.arange(heat.shape[1]))
    low_rows, low_columns = rows.astype(int), columns.astype(int)
    high_rows = np.minimum(low_rows + 1, heat.shape[0] - 1)
    high_columns = np.minimum(low_columns + 1, heat.shape[1] - 1)
    down, across = (rows - low_rows)[:, None], (columns - low_columns)[None]
    upper = heat[low_rows][:, low_columns] * (1 - across) + heat[low_rows][:, high_columns] * across
    lower = (
        heat[high_rows][:, low_columns] * (1 - across) + heat[high_rows][:, high_columns] * across
    )
    share = (upper * (1 - down) + lower * down) / max(float(heat.max()), 1e-12)
    glow = 0.8 * np.clip(share, 0, 1)[..., None]
    grey = image.mean(axis=-1, keepdims=True)
    return ((1 - glow) * grey + glow * _ORANGE).astype(np.uint8)


def _places(num_pixels: int, num_fields: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the middles of pixels, and of the fields, as shares of the side."""
    return (np.arange(num_pixels) + 0.5) / num_pixels, (np.arange(num_fields) + 0.5) / num_fields

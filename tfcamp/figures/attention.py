"""Where a translation model looked while it wrote: one map, or one for each head of each layer."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tfcamp.figures.style import (
    FILL,
    INK,
    MUTED,
    RULE,
    SIZE,
    SMALL,
    add_axes,
    drawing,
    new_figure,
    printable,
    text_width,
)

_MARGIN, _PAD = 12, 6
_FOOTER = 40  # below a map
# Sides of a cell of the one map, and of the maps of heads with the size of their letters.
_WIDEST_CELL, _NARROWEST_CELL, _MAP_WIDTH = 34, 17, 620
_HEAD_CELL, _HEAD_SIZE, _HEAD_GAP = 13, 9.0, 22
# Weights below this are paper: hundreds of cells need not be drawn.
_FAINTEST = 0.01


def attention_map(source: Sequence[str], target: Sequence[str], weights: np.ndarray) -> Figure:
    """Draws the source pieces across, the target pieces down, and deeper what was looked at more.

    The scale ends at the largest weight of the map, which stands below it: an average over heads
    would be pale otherwise.

    Args:
      source: S pieces, as `show_piece` shows them.
      target: T pieces, likewise; row t holds what was looked at when piece t was written.
      weights: float[T, S] in [0, 1], each row summing to at most 1.

    Raises:
      ValueError: the shapes do not fit, or a weight is none.
    """
    weights = _checked(source, target, np.asarray(weights, np.float64)[None, None])[0, 0]
    names = [show_piece(piece) for piece in source]
    cell = min(max(_MAP_WIDTH / len(names), _NARROWEST_CELL), _WIDEST_CELL)
    slanted, top, right = _room_above(names, SIZE, cell)
    left = _MARGIN + _PAD + max(text_width(show_piece(piece)) for piece in target)
    width, height = cell * len(source), cell * len(target)
    footer = f"deepest: {100 * weights.max():.0f} % of the attention"
    with drawing():
        figure = new_figure(
            left + max(width + right, text_width(footer, SMALL) + _MARGIN), top + height + _FOOTER
        )
        axes = add_axes(figure, left, top, width, height)
        _draw(axes, weights, weights.max())
        _name_columns(axes, names, SIZE, slanted)
        _name_rows(axes, target, SIZE)
        axes.text(0, len(target) + 22 / cell, footer, color=MUTED, fontsize=SMALL, va="center")
    return figure


def attention_heads(
    source: Sequence[str],
    target: Sequence[str],
    weights: np.ndarray,
    *,
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
) -> Figure:
    """Draws a small map for each head of each layer, all on one scale.

    Args:
      source: S pieces.
      target: T pieces.
      weights: float[L, H, T, S] in [0, 1].
      layers: which to draw, from above, counted from 0; None for all.
      heads: which to draw, from the left, counted from 0; None for all.

    Raises:
      ValueError: the shapes do not fit, there is nothing to draw, or a weight is none.
    """
    weights = np.asarray(weights, np.float64)
    weights = _checked(source, target, weights)
    layers = range(weights.shape[0]) if layers is None else layers
    heads = range(weights.shape[1]) if heads is None else heads
    if not layers or not heads:
        raise ValueError(f"nothing to draw of {list(layers)} layers and {list(heads)} heads")
    names = [show_piece(piece) for piece in source]
    slanted, above, right = _room_above(names, _HEAD_SIZE, _HEAD_CELL)
    before = _PAD + max(text_width(show_piece(piece), _HEAD_SIZE) for piece in target)
    left, top = _MARGIN + SMALL + _PAD + before, 24 + above
    width, height = _HEAD_CELL * len(source), _HEAD_CELL * len(target)
    across, down = max(width, text_width("head 00", SMALL)) + _HEAD_GAP, height + _HEAD_GAP
    largest = max(weights[layer, head].max() for layer in layers for head in heads)
    with drawing():
        figure = new_figure(
            left + len(heads) * across - _HEAD_GAP + right,
            top + len(layers) * down - _HEAD_GAP + _MARGIN,
        )
        for row, layer in enumerate(layers):
            for column, head in enumerate(heads):
                axes = add_axes(figure, left + column * across, top + row * down, width, height)
                _draw(axes, weights[layer, head], largest)
                axes.set(xticks=[], yticks=[])
                if row == 0:
                    _name_columns(axes, names, _HEAD_SIZE, slanted)
                    axes.annotate(
                        f"head {head + 1}",
                        (0, 1),
                        xycoords="axes fraction",
                        xytext=(0, above + 4),
                        textcoords="offset points",
                        color=INK,
                        fontsize=SMALL,
                        fontweight="bold",
                    )
                if column == 0:
                    _name_rows(axes, target, _HEAD_SIZE)
                    axes.annotate(
                        f"layer {layer + 1}",
                        (0, 0.5),
                        xycoords="axes fraction",
                        xytext=(-before - SMALL, 0),
                        textcoords="offset points",
                        rotation=90,
                        color=INK,
                        fontsize=SMALL,
                        fontweight="bold",
                        ha="center",
                        va="center",
                    )
    return figure


def show_piece(piece: str) -> str:
    """Returns a SentencePiece piece as people read it; bytes stay as they are.

    >>> [show_piece(piece) for piece in ("▁Hund", "e", "▁", "狗", "<0xE4>")]
    ['␣Hund', 'e', '␣', '狗', '<0xE4>']
    """
    return printable(piece.replace("▁", "␣"))


def _checked(source: Sequence[str], target: Sequence[str], weights: np.ndarray) -> np.ndarray:
    if weights.shape[2:] != (len(target), len(source)) or not weights.size:
        raise ValueError(
            f"{len(target)} target and {len(source)} source pieces do not fit weights of shape "
            f"{list(weights.shape)}"
        )
    if not ((weights >= 0) & (weights <= 1.01)).all():
        raise ValueError("attention weights must be in [0, 1]; are they scores before the softmax?")
    return weights


def _room_above(names: Sequence[str], size: float, cell: float) -> tuple[bool, float, float]:
    """Returns whether names over columns must be slanted, and the room above and at the right."""
    widest = max(text_width(name, size) for name in names)
    if widest <= cell - 2:
        return False, _MARGIN + _PAD + size, _MARGIN
    slope = 0.72 * widest
    return True, _MARGIN + _PAD + slope, _MARGIN + slope


def _draw(axes: Axes, weights: np.ndarray, largest: float) -> None:
    num_rows, num_columns = weights.shape
    axes.set(xlim=(0, num_columns), ylim=(num_rows, 0))
    axes.spines[:].set_visible(False)
    for (row, column), weight in np.ndenumerate(weights):
        depth = float(weight / (largest or 1))
        if depth >= _FAINTEST:
            axes.add_patch(
                Rectangle((column, row), 1, 1, facecolor=FILL, alpha=min(depth, 1), linewidth=0)
            )
    for i in range(num_rows + 1):
        axes.plot([0, num_columns], [i, i], color=RULE, linewidth=0.6, clip_on=False)
    for i in range(num_columns + 1):
        axes.plot([i, i], [0, num_rows], color=RULE, linewidth=0.6, clip_on=False)


def _name_columns(axes: Axes, names: Sequence[str], size: float, slanted: bool) -> None:
    axes.set_xticks(np.arange(len(names)) + 0.5, names, color=INK, fontsize=size)
    axes.tick_params(axis="x", length=0, pad=_PAD, top=False, labeltop=True, labelbottom=False)
    if slanted:
        for label in axes.get_xticklabels():
            label.set(rotation=45, ha="left", va="baseline", rotation_mode="anchor")


def _name_rows(axes: Axes, target: Sequence[str], size: float) -> None:
    names = [show_piece(piece) for piece in target]
    axes.set_yticks(np.arange(len(names)) + 0.5, names, color=INK, fontsize=size)
    axes.tick_params(axis="y", length=0, pad=_PAD)

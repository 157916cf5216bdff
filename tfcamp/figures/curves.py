"""Learning curves: how the measurements of a run went."""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from tfcamp.figures.style import (
    INK,
    MUTED,
    SERIES,
    SIZE,
    SMALL,
    add_axes,
    drawing,
    new_figure,
    printable,
    text_width,
)

# The panels of a classifier's history: a title, and the keys drawn under it with their labels.
CLASSIFICATION_PANELS: Mapping[str, Mapping[str, str]] = {
    "Loss": {"train_loss": "train", "dev_loss": "dev"},
    "Score on dev": {"dev_accuracy": "accuracy", "dev_macro_f1": "macro-F1"},
    "Learning rate": {"learning_rate": ""},
}
_WIDTH, _PANEL_HEIGHT = 440, 128
_LEFT, _TOP, _GAP, _BOTTOM = 52, 30, 40, 38


def learning_curves(
    history: Sequence[Mapping[str, float]],
    *,
    panels: Mapping[str, Mapping[str, str]] = CLASSIFICATION_PANELS,
    best_step: int | None = None,
) -> Figure:
    """Draws the measurements of a run over its steps, one panel above the other.

    Args:
      history: one mapping per evaluation, each with "step"; a key may be missing or not finite.
      panels: title -> {key in history: label of its line}; keys and panels without a value are left
        out.
      best_step: marked by a line through all panels: the step whose weights were kept.

    Raises:
      ValueError: there is nothing to draw.
    """
    drawn = {
        title: lines
        for title, keys in panels.items()
        if (lines := {label: line for key, label in keys.items() if (line := _line(history, key))})
    }
    if not drawn:
        raise ValueError(f"history of {len(history)} evaluations holds no value of {panels}")
    right = 18 + max(text_width(label, SMALL) for lines in drawn.values() for label in lines)
    height = _TOP + len(drawn) * (_PANEL_HEIGHT + _GAP) - _GAP + _BOTTOM
    steps = [point[0] for lines in drawn.values() for line in lines.values() for point in line]
    with drawing():
        figure = new_figure(_WIDTH, height)
        colors = cycle(SERIES)
        for i, (title, lines) in enumerate(drawn.items()):
            top = _TOP + i * (_PANEL_HEIGHT + _GAP)
            axes = add_axes(figure, _LEFT, top, _WIDTH - _LEFT - right, _PANEL_HEIGHT)
            # A colour means one thing in the whole figure, so each panel has its own.
            _draw_panel(axes, title, lines, [next(colors) for _ in lines])
            # One evaluation only: room to both sides of it.
            first, last = min(steps), max(steps)
            axes.set_xlim(*((first, last) if first < last else (first - 1, last + 1)))
            if best_step is not None:
                axes.axvline(best_step, color=MUTED, linewidth=0.8, dashes=(3, 3), zorder=1)
            if i < len(drawn) - 1:
                axes.tick_params(labelbottom=False)
            else:
                axes.set_xlabel("step" if best_step is None else "step (dashed: the one kept)")
    return figure


def _line(history: Sequence[Mapping[str, float]], key: str) -> list[tuple[float, float]]:
    return [
        (float(record["step"]), float(record[key]))
        for record in history
        if record.get(key) is not None and math.isfinite(record[key])
    ]


def _draw_panel(
    axes: Axes,
    title: str,
    lines: Mapping[str, list[tuple[float, float]]],
    colors: Sequence[str],
) -> None:
    axes.set_title(printable(title), loc="left", fontsize=SIZE, fontweight="bold", color=INK, pad=9)
    axes.grid(axis="y")
    axes.tick_params(length=0, pad=5)
    axes.spines["left"].set_visible(False)
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    for line, color in zip(lines.values(), colors, strict=True):
        steps, values = zip(*line, strict=True)
        axes.plot(steps, values, color=color, linewidth=1.8, clip_on=False)
        # The last value stands out, and a run of one evaluation is still seen.
        axes.plot(steps[-1:], values[-1:], "o", color=color, markersize=4.5, clip_on=False)
    low, high = axes.get_ylim()
    if max(abs(low), abs(high)) < 0.01:
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.2g}" if value else "0")
    # Labels at the ends of the lines need no legend; they are moved apart where they would touch.
    ends = sorted(
        (line[-1][1], label, color)
        for (label, line), color in zip(lines.items(), colors, strict=True)
    )
    least = (SMALL + 3) / _PANEL_HEIGHT * (high - low)
    heights = spread([value for value, _, _ in ends], least)
    for height, (_, label, color) in zip(heights, ends, strict=True):
        axes.annotate(
            printable(label),
            (1, height),
            xycoords=("axes fraction", "data"),
            xytext=(9, 0),
            textcoords="offset points",
            color=color,
            fontsize=SMALL,
            va="center_baseline",
            annotation_clip=False,
        )


def spread(positions: Sequence[float], least: float) -> list[float]:
    """Returns ascending positions moved apart as little as makes each gap at least `least`.

    >>> spread([0.0, 0.5, 5.0], 1.0)
    [-0.25, 0.75, 5.0]
    """
    # Neighbours that touch join into a block, which is centred on its members' wishes.
    blocks: list[list[float]] = []
    for position in positions:
        blocks.append([position])
        while len(blocks) > 1 and _start(blocks[-1], least) - _end(blocks[-2], least) < least:
            block = blocks.pop()
            blocks[-1] += block
    return [_start(block, least) + i * least for block in blocks for i in range(len(block))]


def _start(block: list[float], least: float) -> float:
    return sum(block) / len(block) - (len(block) - 1) * least / 2


def _end(block: list[float], least: float) -> float:
    return _start(block, least) + (len(block) - 1) * least

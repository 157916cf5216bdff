"""What a classifier confuses, how sure it is, and how well it knows each class."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tfcamp.figures.style import (
    BLUE,
    FILL,
    GREEN,
    INK,
    MUTED,
    ON_FILL,
    PAPER,
    RULE,
    SIZE,
    SMALL,
    VERMILION,
    add_axes,
    drawing,
    fitted,
    new_figure,
    text_width,
)
from tfcamp.metrics.classification import CalibrationBin, ClassScores

# A fill deeper than this carries light letters: no letter then has a contrast below 3.9.
_DEEP = 0.78
# The largest mistake is no deeper than this, so that dark letters stay readable on it.
_DEEPEST_MISTAKE = 0.6
# Classes of a confusion matrix whose cells are drawn one by one: each cell takes a millisecond, and
# half a kilobyte of the file.
_MOST_WRITTEN = 30
# Classes whose names stand beside the matrix, and the pixels that a cell needs for them.
_MOST_NAMED, _NAMED_CELL = 64, 18
# About how wide a matrix without numbers is, and how far numbers of classes stand apart.
_IMAGE_SIDE, _NUMBERED_STEP = 800, 40
# A name that is wider is shortened: a class may be called by a whole sentence.
_WIDEST_NAME = 180


def confusion_matrix(confusion: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draws who was taken for whom: counts, and each count's share of its row.

    Right answers are blue, by their share of the row. Mistakes are orange, by their share of the
    row too, but on a scale of their own that ends at the largest one: on one scale a good model's
    mistakes could not be seen.

    Of more than 30 classes the colours alone are drawn, as one image; of more than 64, classes
    have numbers, from 0, in place of names.

    Args:
      confusion: int[C, C]; row: true class, column: predicted class.
      classes: C names.

    Raises:
      ValueError: the shapes do not fit.
    """
    confusion = np.asarray(confusion)
    num_classes = len(classes)
    if confusion.shape != (num_classes, num_classes) or not num_classes:
        raise ValueError(f"{num_classes} classes do not fit a matrix of shape {confusion.shape}")
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    largest = float((shares - np.diag(np.diag(shares))).max())

    step, size = 1, SIZE
    if num_classes <= _MOST_WRITTEN:
        cell = 44 if num_classes <= 12 else 38
        footer = f"small: share of the row · deepest orange: {_percent(largest)}"
    else:
        cell = max(1, round(_IMAGE_SIDE / num_classes))
        footer = f"share of the row · deepest orange: {_percent(largest)}"
        size = SMALL
        if num_classes <= _MOST_NAMED:
            cell = max(cell, _NAMED_CELL)
        else:
            step = _round_step(_NUMBERED_STEP / cell)
            footer = f"classes by number, from 0 · {footer}"
    ticks = range(0, num_classes, step)
    names = [fitted(classes[i], _WIDEST_NAME, size) if step == 1 else str(i) for i in ticks]
    widest = max(text_width(name, size) for name in names)
    slanted = widest > cell * step - 4
    left = 34 + widest
    top = 42 + (0.72 * widest if slanted else size)
    side = cell * num_classes
    right = 12 + (0.72 * widest if slanted else 0)
    width = left + max(side + right, text_width(footer, SMALL))
    with drawing():
        figure = new_figure(width, top + side + 40)
        axes = add_axes(figure, left, top, side, side)
        axes.set(xlim=(0, num_classes), ylim=(num_classes, 0))
        axes.spines[:].set_visible(False)
        if num_classes <= _MOST_WRITTEN:
            _write_cells(axes, confusion, shares, largest)
        else:
            _paint_cells(axes, shares, largest)
        for i in [*ticks, num_classes]:
            axes.plot([0, num_classes], [i, i], color=RULE, linewidth=0.8, clip_on=False)
            axes.plot([i, i], [0, num_classes], color=RULE, linewidth=0.8, clip_on=False)
        middles = np.array(ticks) + 0.5
        axes.set_yticks(middles, names, color=INK, fontsize=size)
        axes.set_xticks(middles, names, color=INK, fontsize=size)
        axes.tick_params(length=0, pad=6, top=False, labeltop=True, labelbottom=False)
        if slanted:
            for label in axes.get_xticklabels():
                label.set(rotation=45, ha="left", va="bottom", rotation_mode="anchor")
        for text, across, up, align in (
            ("predicted →", 0, top - 14, "left"),
            ("true ↓", -6, 14, "right"),
        ):
            axes.text(
                across / cell, -up / cell, text, color=MUTED, fontsize=SMALL, ha=align, va="center"
            )
        axes.text(
            0,
            num_classes + 20 / cell,
            footer,
            color=MUTED,
            fontsize=SMALL,
            va="center",
        )
    return figure


def _write_cells(axes: Axes, confusion: np.ndarray, shares: np.ndarray, largest: float) -> None:
    """Draws cells one by one, with the count and its share in each that has any."""
    for (row, column), count in np.ndenumerate(confusion):
        share = float(shares[row, column])
        right_answer = row == column
        depth = share if right_answer else _DEEPEST_MISTAKE * share / (largest or 1)
        box = Rectangle(
            (column, row),
            1,
            1,
            facecolor=FILL if right_answer else VERMILION,
            alpha=depth,
            linewidth=0,
        )
        axes.add_patch(box)
        if not count and not right_answer:
            continue
        color = ON_FILL if right_answer and share > _DEEP else INK
        axes.text(
            column + 0.5,
            row + 0.44,
            f"{count:,}",
            color=color,
            ha="center",
            va="center",
            fontsize=SMALL if count < 10_000 else SMALL - 2,
            fontweight="bold" if right_answer else "normal",
        )
        axes.text(
            column + 0.5,
            row + 0.78,
            _percent(share),
            color=color,
            ha="center",
            va="center",
            fontsize=SMALL - 2.5,
        )


def _paint_cells(axes: Axes, shares: np.ndarray, largest: float) -> None:
    """Draws all cells as an image of one pixel each, clear where there is nothing.

    Nothing is written on them, so the largest mistake has the full colour.
    """
    num_classes = len(shares)
    right_answer = np.eye(num_classes, dtype=bool)
    pixels = np.where(right_answer[..., np.newaxis], to_rgba(FILL), to_rgba(VERMILION))
    pixels[..., 3] = np.where(right_answer, shares, shares / (largest or 1))
    axes.imshow(
        np.round(255 * pixels).astype(np.uint8),
        extent=(0, num_classes, num_classes, 0),
        aspect="auto",
        interpolation="none",
    )


def _round_step(least: float) -> int:
    """Returns the smallest of 1, 2, 5, 10, 20, 50 ... that is not below `least`.

    >>> [_round_step(least) for least in (0.5, 3.1, 10, 12)]
    [1, 5, 10, 20]
    """
    power = 10 ** max(0, math.floor(math.log10(least)))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least)


def calibration(bins: Sequence[CalibrationBin], *, error: float | None = None) -> Figure:
    """Draws how often the model is right when it is so sure (a reliability diagram).

    On the diagonal a model is as right as it is sure; below it, it is too sure. The bars beneath
    show how many rows each point stands for.

    Args:
      bins: as in `ClassificationReport.calibration`; empty ones are left out.
      error: the expected calibration error, written into the figure.

    Raises:
      ValueError: all bins are empty.
    """
    filled = [bin_ for bin_ in bins if bin_.count]
    if not filled:
        raise ValueError(f"all {len(bins)} calibration bins are empty")
    total = sum(bin_.count for bin_ in filled)
    left, top, side, gap, low = 56, 30, 284, 14, 72
    with drawing():
        figure = new_figure(440, top + side + gap + low + 40)
        axes = add_axes(figure, left, top, 440 - left - 24, side)
        axes.set_title("Share that is right", loc="left", fontsize=SIZE, fontweight="bold", pad=9)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.grid()
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, dashes=(3, 3))
        axes.vlines(
            [bin_.confidence for bin_ in filled],
            [bin_.accuracy for bin_ in filled],
            [bin_.confidence for bin_ in filled],
            color=VERMILION,
            linewidth=2.2,
            alpha=0.55,
        )
        axes.plot(
            [bin_.confidence for bin_ in filled],
            [bin_.accuracy for bin_ in filled],
            color=BLUE,
            linewidth=1.2,
            alpha=0.7,
        )
        for bin_ in filled:
            axes.plot(
                bin_.confidence,
                bin_.accuracy,
                "o",
                color=BLUE,
                # By area, so that a point of three rows does not weigh like one of a thousand.
                markersize=3 + 8 * (bin_.count / total) ** 0.5,
                markeredgecolor=PAPER,
                markeredgewidth=0.8,
                clip_on=False,
            )
        if error is not None:
            axes.text(0.03, 0.95, "expected calibration error", color=MUTED, fontsize=SMALL)
            axes.text(0.03, 0.88, f"{error:.4f}", fontsize=16, color=INK)
        axes.tick_params(labelbottom=False)

        counts = add_axes(figure, left, top + side + gap, 440 - left - 24, low)
        for bin_ in filled:
            share = bin_.count / total
            counts.bar(
                (bin_.lower + bin_.upper) / 2,
                share,
                width=0.86 * (bin_.upper - bin_.lower),
                color=BLUE,
                alpha=0.75,
            )
        counts.set(xlim=(0, 1))
        counts.set_ylim(bottom=0)
        counts.set_xlabel("probability of the predicted class (bars: share of the rows)")
        counts.grid(axis="y")
        counts.locator_params(axis="y", nbins=2)
        counts.yaxis.set_major_formatter(lambda value, _: _percent(value))
        for each in (axes, counts):
            each.tick_params(length=0, pad=6)
            each.spines["left"].set_visible(False)
    return figure


def class_scores(per_class: Sequence[ClassScores]) -> Figure:
    """Draws F1, precision and recall of each class, the best class first.

    Args:
      per_class: as in `ClassificationReport.per_class`.

    Raises:
      ValueError: there are no classes.
    """
    if not per_class:
        raise ValueError("there are no classes to draw")
    ranked = sorted(per_class, key=lambda row: -row.f1)
    names = [fitted(row.name, _WIDEST_NAME) for row in ranked]
    left = 20 + max(text_width(name) for name in names)
    line, top = 26, 30
    with drawing():
        figure = new_figure(440, top + line * len(ranked) + 40)
        axes = add_axes(figure, left, top, 440 - left - 56, line * len(ranked))
        # Scores of a good model differ late; the axis starts below the worst, at a round number.
        lowest = min(min(row.precision, row.recall, row.f1) for row in ranked)
        start = max(0.0, np.floor((lowest - 0.02) * 20) / 20)
        axes.set(xlim=(start, 1), ylim=(len(ranked) - 0.5, -0.5))
        axes.set_title("F1", loc="left", fontsize=SIZE, fontweight="bold", pad=9)
        axes.grid(axis="x")
        for i, row in enumerate(ranked):
            axes.plot([row.precision, row.recall], [i, i], color=MUTED, linewidth=1.2)
            axes.plot(row.precision, i, ">", color=VERMILION, markersize=5.5, clip_on=False)
            axes.plot(row.recall, i, "<", color=GREEN, markersize=5.5, clip_on=False)
            axes.plot(row.f1, i, "o", color=BLUE, markersize=6.5, clip_on=False)
            axes.annotate(
                f"{row.f1:.3f}",
                (1, i),
                xycoords=("axes fraction", "data"),
                xytext=(12, 0),
                textcoords="offset points",
                fontsize=SMALL,
                va="center_baseline",
            )
        axes.set_yticks(range(len(ranked)), names, color=INK, fontsize=SIZE)
        axes.locator_params(axis="x", nbins=5)
        axes.tick_params(length=0, pad=6)
        axes.spines["left"].set_visible(False)
        legend = (("● F1", BLUE), ("▶ precision", VERMILION), ("◀ recall", GREEN))
        for (label, color), across in zip(legend, (0, 60, 150), strict=True):
            axes.annotate(
                label,
                (0, 0),
                xycoords="axes fraction",
                xytext=(across, -34),
                textcoords="offset points",
                color=color,
                fontsize=SMALL,
            )
    return figure


def _percent(share: float) -> str:
    """Returns a share as a percentage: one digit where the first would be lost, else none."""
    percentage = 100 * share
    if 0 < percentage < 9.95:
        return f"{percentage:.1f} %" if percentage >= 0.05 else "<0.1 %"
    return f"{percentage:.0f} %"

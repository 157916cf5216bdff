"""The trials of a search: how their scores went, and what each option did to them."""

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tfcamp.figures.style import (
    BLUE,
    INK,
    MUTED,
    SIZE,
    VERMILION,
    add_axes,
    drawing,
    new_figure,
    printable,
)

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 440, 52, 20, 30, 38
_TALL = 150
# Panels of the options, two beside each other.
_PANEL_WIDTH, _PANEL_HEIGHT, _ACROSS, _DOWN = 160, 110, 48, 64
# Letters that labels beside each other may have in all.
_MOST_LETTERS = 24


def trial_scores(
    scores: Sequence[float | None], *, name: str, larger_is_better: bool = True
) -> Figure:
    """Draws the score of each trial, the best so far as a line, and that of the first, dashed.

    Args:
      scores: in the order in which the trials began; None where one has none.
      name: of the score.
      larger_is_better: False for a loss.

    Raises:
      ValueError: no trial has a score.
    """
    worst, best = score_limits(scores, larger_is_better=larger_is_better)
    with drawing():
        figure = new_figure(_WIDTH, _TOP + _TALL + _BOTTOM)
        axes = add_axes(figure, _LEFT, _TOP, _WIDTH - _LEFT - _RIGHT, _TALL)
        axes.set_title(
            printable(name), loc="left", fontsize=SIZE, fontweight="bold", color=INK, pad=9
        )
        axes.set(xlim=(0.5, len(scores) + 0.5))
        axes.set_xlabel("trial (line: the best so far, dashed: the options that were given)")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
        if scores and scores[0] is not None:
            axes.axhline(scores[0], color=MUTED, linewidth=0.8, dashes=(3, 3), zorder=1)
        known = [(i, score) for i, score in enumerate(scores, start=1) if score is not None]
        numbers, values = zip(*known, strict=True)
        better = max if larger_is_better else min
        # To the right end, where the search ended.
        steps = [*accumulate(values, better), better(values)]
        axes.step(
            [*numbers, len(scores) + 0.5], steps, where="post", color=VERMILION, linewidth=1.6
        )
        _draw_points(axes, numbers, values, worst, best)
    return figure


def option_scores(
    values: Mapping[str, Sequence[Any]],
    scores: Sequence[float | None],
    *,
    name: str,
    larger_is_better: bool = True,
) -> Figure:
    """Draws the scores over the values of each option, the best trial in another colour.

    Args:
      values: option -> its value in each trial, numbers or anything else.
      scores: as for :func:`trial_scores`, and so are `name` and `larger_is_better`.
      name: see there.
      larger_is_better: see there.

    Raises:
      ValueError: no trial has a score, or there are no options.
    """
    if not values:
        raise ValueError("there are no options to draw")
    worst, best = score_limits(scores, larger_is_better=larger_is_better)
    rows = math.ceil(len(values) / 2)
    height = _TOP + rows * (_PANEL_HEIGHT + _DOWN) - _DOWN + _BOTTOM
    with drawing():
        figure = new_figure(_WIDTH, height)
        for place, (option, column) in enumerate(values.items()):
            axes = add_axes(
                figure,
                _LEFT + place % 2 * (_PANEL_WIDTH + _ACROSS),
                _TOP + place // 2 * (_PANEL_HEIGHT + _DOWN),
                _PANEL_WIDTH,
                _PANEL_HEIGHT,
            )
            if place == 0:
                axes.set_title(
                    printable(name), loc="left", fontsize=SIZE, fontweight="bold", color=INK, pad=9
                )
            axes.set_xlabel(printable(option.replace("_", " ")), color=INK)
            known = [
                (value, score)
                for value, score in zip(column, scores, strict=True)
                if score is not None
            ]
            places = _place_values(axes, [value for value, _ in known])
            _draw_points(axes, places, [score for _, score in known], worst, best)
    return figure


def score_limits(
    scores: Sequence[float | None], *, larger_is_better: bool = True
) -> tuple[float, float]:
    """Returns the worst and the best score that are drawn to scale.

    One trial that went wrong must not press all others into a line: what is further from the median
    than twice the best is, stands at the edge.

    Raises:
      ValueError: no trial has a score.

    >>> score_limits([0.90, 0.92, 0.91, 0.10, None])
    (0.875, 0.92)
    """
    known = [score for score in scores if score is not None]
    if not known:
        raise ValueError("no trial has a score")
    middle = statistics.median(known)
    best, worst = max(known), min(known)
    if not larger_is_better:
        best, worst = worst, best
    edge = round(middle - 2 * (best - middle), 12)
    return (max(edge, worst) if larger_is_better else min(edge, worst)), best


def _draw_points(
    axes: Axes, places: Sequence[float], scores: Sequence[float], worst: float, best: float
) -> None:
    """Draws trials as points: the best one stands out, what is off the scale is an arrow."""
    room = 0.08 * abs(best - worst) or max(abs(best), 1e-3) * 0.01
    up = best >= worst
    axes.set_ylim(min(worst, best) - room, max(worst, best) + room)
    axes.grid(axis="y")
    axes.tick_params(length=0, pad=5)
    axes.spines["left"].set_visible(False)
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    is_best = False
    for place, score in zip(places, scores, strict=True):
        off_scale = score < worst if up else score > worst
        # Of equal ones the first: it took less.
        is_first_best = score == best and not is_best
        is_best |= is_first_best
        axes.plot(
            [place],
            [worst - room / 2 * (1 if up else -1) if off_scale else score],
            marker=("v" if up else "^") if off_scale else "o",
            markersize=6.5 if is_first_best else 5,
            color=VERMILION if is_first_best else BLUE,
            markerfacecolor="none" if off_scale else None,
            alpha=1.0 if is_first_best else 0.75,
            zorder=4 if is_first_best else 3,
            clip_on=False,
        )


def _place_values(axes: Axes, values: Sequence[Any]) -> list[float]:
    """Sets an axis for values and returns where each stands on it."""
    numeric = all(type(value) in (int, float) for value in values)
    distinct = sorted(set(values)) if numeric else sorted(set(values), key=str)
    labels = [printable(_short(value)) for value in distinct]
    if numeric and len(" ".join(labels)) > _MOST_LETTERS:
        if distinct[0] > 0 and distinct[-1] / distinct[0] >= 5:
            axes.set_xscale("log")
            ends = distinct[0], distinct[-1]
            axes.set_xticks([ends[0], math.sqrt(ends[0] * ends[1]), ends[1]], minor=False)
            axes.minorticks_off()
        else:
            axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.2g}")
        return [float(value) for value in values]
    # Few values stand side by side, whatever lies between them.
    axes.set_xticks(range(len(distinct)), labels)
    axes.set_xlim(-0.5, len(distinct) - 0.5)
    return [float(distinct.index(value)) for value in values]


def _short(value: Any) -> str:
    return f"{value:.3g}" if type(value) is float else str(value)

"""Figures of a search: trials stand at their scores and values, and the best one is seen."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from tfcamp.figures import save_figure
from tfcamp.figures.style import VERMILION
from tfcamp.figures.trials import option_scores, score_limits, trial_scores

SCORES = [0.90, 0.93, None, 0.92, 0.10]


def points(axes: Axes) -> list[tuple[float, float]]:
    """Where the trials stand, in their order."""
    drawn = [line for line in axes.lines if line.get_marker() in ("o", "v", "^")]
    return [tuple(np.asarray(line.get_xydata()).tolist()[0]) for line in drawn]


def best_point(axes: Axes) -> tuple[float, float]:
    (best,) = (
        line for line in axes.lines if line.get_marker() == "o" and line.get_color() == VERMILION
    )
    return tuple(np.asarray(best.get_xydata()).tolist()[0])


def texts(figure: Figure) -> set[str]:
    return {it.get_text() for it in figure.findobj(Text) if isinstance(it, Text)}


def test_trials_stand_in_order_under_the_best_so_far():
    figure = trial_scores(SCORES, name="dev accuracy")
    (axes,) = figure.axes
    assert points(axes)[:3] == [(1, 0.90), (2, 0.93), (4, 0.92)]
    assert best_point(axes) == (2, 0.93)
    assert {"dev accuracy"} <= texts(figure)
    (stairs,) = (line for line in axes.lines if line.get_drawstyle() == "steps-post")
    assert np.asarray(stairs.get_ydata()).tolist() == [0.90, 0.93, 0.93, 0.93, 0.93]
    # The dashed line is the first trial's.
    (dashed,) = (line for line in axes.lines if line.is_dashed())
    assert np.asarray(dashed.get_ydata()).tolist() == [0.90, 0.90]


def test_a_trial_that_went_wrong_is_an_arrow_at_the_edge():
    (axes,) = trial_scores(SCORES, name="dev accuracy").axes
    low, high = axes.get_ylim()
    assert low > 0.8 and high < 0.95
    (arrow,) = (line for line in axes.lines if line.get_marker() == "v")
    place, height = np.asarray(arrow.get_xydata()).tolist()[0]
    assert place == 5 and low < height < 0.89


def test_of_losses_the_smallest_is_the_best():
    losses = [2.0, 1.0, 1.5, 1.4, 90.0]
    (axes,) = trial_scores(losses, name="dev loss", larger_is_better=False).axes
    assert best_point(axes) == (2, 1.0)
    assert axes.get_ylim()[1] < 3
    assert [line.get_marker() for line in axes.lines].count("^") == 1


def test_each_option_has_a_panel():
    values = {
        "learning_rate": [0.0011, 0.0123, 0.123, 0.00234, 0.02, 0.0543],
        "model": ["gru", "lstm", "gru", "lstm", "gru", "gru"],
        "width": [128, 64, 128, 64, 256, 64],
        "bias": [True, False, True, True, False, True],
        "dropout": [0.0, 0.1, 0.2, 0.3, 0.4, 0.55],
        "warmup": [0.0, 0.111, 0.222, 0.333, 0.444, 0.555],
    }
    scores = [0.90, 0.93, 0.91, 0.92, None, 0.91]
    figure = option_scores(values, scores, name="dev accuracy")
    rate, model, width, bias, dropout, warmup = figure.axes
    assert rate.get_xscale() == "log" and best_point(rate) == (0.0123, 0.93)
    assert [place for place, _ in points(rate)] == [0.0011, 0.0123, 0.123, 0.00234, 0.0543]
    assert [label.get_text() for label in model.get_xticklabels()] == ["gru", "lstm"]
    assert best_point(model) == (1, 0.93)
    assert [label.get_text() for label in width.get_xticklabels()] == ["64", "128"]
    assert best_point(width) == (0, 0.93) and best_point(bias) == (0, 0.93)
    labels = [label.get_text() for label in dropout.get_xticklabels()]
    assert labels == ["0", "0.1", "0.2", "0.3", "0.55"]
    assert warmup.get_xscale() == "linear"  # it has a zero
    assert best_point(warmup) == (0.111, 0.93)
    assert {"learning rate", "model", "width", "bias", "dropout"} <= texts(figure)


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="no trial has a score"):
        trial_scores([None], name="dev accuracy")
    with pytest.raises(ValueError, match="there are no options to draw"):
        option_scores({}, [1.0], name="dev accuracy")


@given(st.lists(st.floats(-1e6, 1e6) | st.none(), min_size=1, max_size=9), st.booleans())
def test_limits_hold_the_best_and_half_of_the_trials(scores, larger_is_better):
    known = [score for score in scores if score is not None]
    if not known:
        return
    worst, best = score_limits(scores, larger_is_better=larger_is_better)
    assert best == (max if larger_is_better else min)(known)
    low, high = sorted((worst, best))
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert 2 * sum(low - slack <= score <= high + slack for score in known) >= len(known)


@pytest.mark.parametrize("scores", [[0.5], [0.5, 0.5], [0.0, 0.0], [1e-9, 2e-9], [-3.0, None]])
def test_any_scores_make_files(tmp_path, scores):
    values = {"width": list(range(len(scores))), "model": ["lstm"] * len(scores)}
    figures = trial_scores(scores, name="x"), option_scores(values, scores, name="x")
    for number, figure in enumerate(figures):
        assert save_figure(figure, tmp_path, str(number)).png is not None
        assert all(math.isfinite(end) for axes in figure.axes for end in axes.get_ylim())

"""Learning curves draw what a history holds, and their labels never touch."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text

from tfcamp.figures.curves import learning_curves, spread

HISTORY = [
    {"step": 100, "train_loss": 1.0, "dev_loss": 1.2, "dev_accuracy": 0.5, "learning_rate": 1e-3},
    {"step": 200, "train_loss": 0.5, "dev_loss": 0.6, "dev_accuracy": 0.8, "learning_rate": 5e-4},
]


def texts(figure: Figure) -> set[str]:
    return {it.get_text() for it in figure.findobj(Text) if isinstance(it, Text)}


def test_panels_hold_the_lines_whose_keys_the_history_has():
    figure = learning_curves(HISTORY)
    assert {"Loss", "train", "dev", "Score on dev", "accuracy", "Learning rate"} <= texts(figure)
    assert "macro-F1" not in texts(figure)
    loss = figure.axes[0].lines[0]
    assert np.asarray(loss.get_xydata()).tolist() == [[100, 1.0], [200, 0.5]]
    assert len({line.get_color() for axes in figure.axes for line in axes.lines}) == 4


def test_own_panels_and_the_step_kept():
    figure = learning_curves(
        [{"step": 1, "dev_bleu": 20.0}], panels={"BLEU": {"dev_bleu": ""}}, best_step=1
    )
    assert len(figure.axes) == 1
    assert "step (dashed: the one kept)" in texts(figure)


def test_no_two_ticks_have_one_label():
    history = [{"step": 1, "learning_rate": 3e-4}, {"step": 2, "learning_rate": 2e-3}]
    figure = learning_curves(history)
    figure.canvas.draw()
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) > 3 and len(set(labels)) == len(labels)


def test_values_that_are_missing_or_not_finite_are_gaps():
    history = [*HISTORY, {"step": 300, "train_loss": math.nan}, {"step": 400, "train_loss": 0.25}]
    line = learning_curves(history).axes[0].lines[0]
    assert np.asarray(line.get_xdata()).tolist() == [100, 200, 400]


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="history of 0 evaluations holds no value"):
        learning_curves([])


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=8), st.integers(1, 20))
def test_spread_keeps_order_gaps_and_middle(positions, least):
    positions = sorted(map(float, positions))
    result = spread(positions, least)
    gaps = [after - before for before, after in pairwise(result)]
    assert all(gap >= least - 1e-9 for gap in gaps)
    assert sum(result) == pytest.approx(sum(positions), abs=1e-6)
    wished = [after - before for before, after in pairwise(positions)]
    if all(gap >= least for gap in wished):
        assert result == pytest.approx(positions)

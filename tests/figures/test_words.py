"""The map of words: repeatable, defined for odd input, labels that do not touch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from tfcamp.figures.save import figure_svg
from tfcamp.figures.words import _HEIGHT, _WIDTH, place_labels, word_map

WORDS = [f"词{i}" for i in range(40)]
VECTORS = np.random.default_rng(0).normal(size=(40, 8))


def test_the_same_seed_draws_the_same_map():
    first = figure_svg(word_map(WORDS, VECTORS, seed=1))
    assert figure_svg(word_map(WORDS, VECTORS, seed=1)) == first
    assert figure_svg(word_map(WORDS, VECTORS, method="pca")) != first


def test_near_vectors_are_near_on_the_map():
    centres = np.eye(3)[np.arange(30) % 3] * 10
    vectors = centres + np.random.default_rng(0).normal(size=(30, 3))
    figure = word_map(WORDS[:30], vectors, [f"组{i % 3}" for i in range(30)])
    points = np.array([np.ravel(line.get_xydata()) for line in figure.axes[0].lines])
    distances = np.linalg.norm(points[:, None] - points, axis=-1) + 1e9 * np.eye(30)
    assert (distances.argmin(axis=1) % 3 == np.arange(30) % 3).all()


@pytest.mark.parametrize("method", ["tsne", "pca"])
@pytest.mark.parametrize(
    "vectors",
    [
        np.ones((1, 4)),
        np.ones((2, 4)),
        np.eye(2),
        np.eye(3),
        np.eye(5),
        np.zeros((9, 4)),
        np.repeat(np.eye(3), 4, axis=0),
        np.arange(6.0)[:, None],
        1e-30 * np.eye(6),
    ],
)
def test_few_or_equal_vectors_are_drawn(vectors, method):
    figure = word_map(WORDS[: len(vectors)], vectors, method=method)
    assert len(figure.axes[0].lines) == len(vectors)
    for line in figure.axes[0].lines:
        assert np.isfinite(np.asarray(line.get_xydata())).all()


def test_many_groups_wrap_and_a_crowd_says_how_many_labels_are_missing():
    groups = [f"a long name of group {i % 20}" for i in range(40)]
    svg = figure_svg(word_map(WORDS, np.ones((40, 8)), groups))
    assert all(f">{name}<" in svg for name in groups)
    assert "of 40 words without a label, for want of room" in svg


def test_a_long_name_of_a_group_stays_inside_the_frame():
    groups = ["α" * 200, "b"] * 20
    figure = word_map([str(i) for i in range(40)], VECTORS, groups)
    FigureCanvasAgg(figure)
    (shown,) = [text for text in figure.axes[1].texts if "α" in text.get_text()]
    assert shown.get_text().endswith("α…") and shown.get_window_extent().x1 < _WIDTH / 2


def test_arguments_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="0 tokens do not fit"):
        word_map([], np.zeros((0, 4)))
    with pytest.raises(ValueError, match="40 tokens do not fit vectors of shape"):
        word_map(WORDS, VECTORS[:3])
    with pytest.raises(ValueError, match="40 tokens do not fit 1 groups"):
        word_map(WORDS, VECTORS, ["a"])
    with pytest.raises(ValueError, match='"tsne" or "pca", got \'umap\''):
        word_map(WORDS, VECTORS, method="umap")  # type: ignore[arg-type]


POINTS = st.lists(
    st.tuples(st.integers(0, _WIDTH), st.integers(0, _HEIGHT), st.integers(5, 120)),
    min_size=1,
    max_size=25,
)


@settings(deadline=None, max_examples=50)
@given(POINTS)
def test_labels_touch_neither_each_other_nor_a_point_nor_the_edge(rows):
    points = np.array([row[:2] for row in rows], float)
    widths = [row[2] for row in rows]
    boxes = [
        (x - width / 2, y - 5, x + width / 2, y + 5)
        for place, width in zip(place_labels(points, widths), widths, strict=True)
        if place is not None
        for x, y in [place]
    ]
    for i, (left, bottom, right, top) in enumerate(boxes):
        assert left >= 0 and bottom >= 0 and right <= _WIDTH and top <= _HEIGHT
        for x, y in points:
            assert not (left < x < right and bottom < y < top)
        for other in boxes[:i]:
            apart = left >= other[2] or right <= other[0] or bottom >= other[3] or top <= other[1]
            assert apart


def test_a_lone_word_is_always_labelled():
    assert place_labels(np.array([[5.0, 5.0]]), [40]) != [None]

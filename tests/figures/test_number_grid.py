"""Grids of pictures and accuracy by length."""

import re

import numpy as np
import pytest

from tfcamp.figures import NumberTile, accuracy_by_length, figure_svg, number_grid
from tfcamp.figures.number_grid import _glowing
from tfcamp.metrics.sequence import LengthScores

IMAGE = np.random.default_rng(0).integers(0, 256, (32, 64, 3)).astype(np.uint8)


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>(.*?)</text>", svg)


def test_each_picture_says_what_was_read_and_what_is_there() -> None:
    tiles = [
        NumberTile(IMAGE, "12", "17", 0.98),
        NumberTile(IMAGE, "5", "5", 0.4),
        NumberTile(IMAGE, "3", "", 0.0),
    ]
    svg = figure_svg(number_grid(tiles))
    assert svg.count("<image") == 3
    assert texts(svg) == ["17", "(12)  98 %", "5", "40 %", "–", "(3)  0 %"]


def test_pictures_with_heat_are_drawn_twice() -> None:
    tile = NumberTile(IMAGE, "12", "12", 0.9, np.ones((2, 4)))
    assert figure_svg(number_grid([tile] * 7)).count("<image") == 14


def test_equal_grids_make_equal_bytes() -> None:
    tiles = [NumberTile(IMAGE, "12", "17", 0.98)]
    assert figure_svg(number_grid(tiles)) == figure_svg(number_grid(tiles))


def test_orange_glows_where_the_heat_is() -> None:
    heat = np.zeros((4, 8))
    heat[1, 2] = 3.0
    glowing = _glowing(np.full((32, 64, 3), 100, np.uint8), heat).astype(int)
    redness = glowing[..., 0] - glowing[..., 2]
    row, column = np.unravel_index(redness.argmax(), redness.shape)
    assert 8 <= row < 16 and 16 <= column < 24
    assert redness.max() > 150 and glowing[-1, -1].tolist() == [100, 100, 100]


def test_without_any_heat_the_picture_is_grey() -> None:
    image = np.tile(np.array([90, 30, 60], np.uint8), (8, 8, 1))
    assert np.unique(_glowing(image, np.zeros((2, 2)))).tolist() == [60]


def test_accuracy_by_length() -> None:
    rows = [LengthScores(1, 0.9, 0.95, 100), LengthScores(4, 0.0, 0.5, 1_234)]
    labels = texts(figure_svg(accuracy_by_length(rows)))
    assert {"0.90", "0.00", "1,234"} <= set(labels)


@pytest.mark.parametrize("draw", [number_grid, accuracy_by_length])
def test_nothing_to_draw(draw) -> None:
    with pytest.raises(ValueError, match="to draw"):
        draw([])

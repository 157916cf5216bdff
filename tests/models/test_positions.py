"""Sinusoidal positions: by hand and against the formula."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from tfcamp.models.positions import LearnedPositions, SinusoidalPositions, sinusoidal_positions


def test_by_hand() -> None:
    # width 4: rates 1 and 10000^(-2/4) = 0.01
    expected = [[0, 1, 0, 1], [math.sin(3), math.cos(3), math.sin(0.03), math.cos(0.03)]]
    np.testing.assert_allclose(sinusoidal_positions([0, 3], 4), expected, atol=1e-6)


def test_equals_the_formula() -> None:
    encodings = np.asarray(sinusoidal_positions(range(50), 16))
    for p in range(50):
        for i in range(8):
            angle = p / 10000 ** (2 * i / 16)
            expected = (math.sin(angle), math.cos(angle))
            np.testing.assert_allclose(encodings[p, 2 * i : 2 * i + 2], expected, atol=1e-5)


def test_layer_adds_the_same_to_every_row() -> None:
    inputs = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    added = SinusoidalPositions()(inputs) - inputs
    np.testing.assert_allclose(added, [sinusoidal_positions(range(5), 4)] * 2, atol=1e-6)


def test_bfloat16_positions_keep_their_angles() -> None:
    """The angle 200.0 + a little would be rounded to a whole number in bfloat16."""
    zeros = np.zeros((1, 300, 8), np.float32)
    added = SinusoidalPositions(dtype="bfloat16")(zeros)
    assert added.dtype == "bfloat16"
    expected = sinusoidal_positions(range(300), 8)
    np.testing.assert_allclose(np.asarray(added)[0].astype(np.float32), expected, atol=0.005)


def test_odd_width_is_refused() -> None:
    with pytest.raises(ValueError, match="even width, got 3"):
        sinusoidal_positions([0], 3)


@pytest.mark.parametrize("make", [SinusoidalPositions, lambda: LearnedPositions(7)])
def test_parts_of_a_text_get_the_positions_of_the_whole(make: Callable) -> None:
    inputs = np.random.default_rng(0).normal(size=(2, 7, 4)).astype(np.float32)
    layer = make()
    whole = layer(inputs)
    for first in range(7):
        part = layer(inputs[:, first : first + 1], first=tf.constant(first))
        np.testing.assert_allclose(part, whole[:, first : first + 1], atol=1e-6)


def test_learned_positions() -> None:
    layer = LearnedPositions(3)
    zeros = np.zeros((2, 2, 4), np.float32)
    layer(zeros)
    assert layer.table.shape == (3, 4)
    np.testing.assert_array_equal(layer(zeros), [layer.table[:2].numpy()] * 2)
    with pytest.raises(ValueError, match="only 3 positions were learned, got 4"):
        layer(np.zeros((1, 4, 4), np.float32))

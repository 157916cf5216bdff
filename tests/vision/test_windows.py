"""Windows around numbers: by hand, at borders, and at random without losing a digit."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tfcamp.vision.windows import (
    bounds_of_boxes,
    digit_squares,
    random_windows,
    windows_around,
)


def test_a_margin_is_a_share_of_the_height() -> None:
    ((window,), (box,)) = windows_around([[40, 50, 30, 20]], [[200, 300]], 0.5)
    assert window.tolist() == [30, 40, 50, 40]
    np.testing.assert_allclose(box, [10 / 40, 10 / 50, 30 / 40, 40 / 50], rtol=1e-6)


def test_what_sticks_out_of_the_picture_is_cut_off() -> None:
    ((window,), (box,)) = windows_around([[-5, 10, 30, 100]], [[60, 40]], 0.3)
    assert window.tolist() == [0, 0, 40, 60]
    np.testing.assert_allclose(box, [10 / 60, 0, 1, 25 / 40], rtol=1e-6)


@given(
    st.lists(st.integers(-50, 150), min_size=4, max_size=4),
    st.tuples(st.integers(1, 99), st.integers(1, 99)),
    st.floats(0, 3),
)
def test_every_window_has_pixels_of_the_picture(bounds, size, margin) -> None:
    bounds[2:] = [abs(side) for side in bounds[2:]]
    ((left, top, width, height),), ((y0, x0, y1, x1),) = windows_around([bounds], [size], margin)
    assert left >= 0 and top >= 0 and width >= 1 and height >= 1
    assert left + width <= size[1] and top + height <= size[0]
    assert 0 <= y0 < y1 <= 1 and 0 <= x0 < x1 <= 1


def test_bounds_hold_all_boxes() -> None:
    assert bounds_of_boxes([[10, 5, 4, 9], [2, 7, 3, 9]]).tolist() == [2, 5, 12, 11]


def test_a_narrow_digit_is_cut_out_with_its_neighbours() -> None:
    assert digit_squares([[10, 0, 7, 20], [0, 0, 20, 10]]).tolist() == [
        [4, 0, 20, 20],
        [0, -5, 20, 20],
    ]


class TestRandomWindows:
    """Pictures whose red is the place down and whose green is the place across."""

    HEIGHT, WIDTH = 41, 81
    BOX = (0.25, 0.5, 0.75, 0.875)

    def cut(self, box: tuple[float, ...], seed: int = 0, cut: float = 1.0) -> np.ndarray:
        rows = 64
        down = np.linspace(0, 255, self.HEIGHT)[:, None]
        across = np.linspace(0, 255, self.WIDTH)[None]
        planes = np.broadcast_arrays(down, across, 0.0)
        images = np.tile(np.stack(planes, axis=-1).astype(np.uint8), (rows, 1, 1, 1))
        boxes = np.tile(np.array(box, np.float32), (rows, 1))
        seed_pair = tf.constant([seed, 1])
        return random_windows(images, boxes, seed_pair, 20, 30, largest_cut=cut).numpy()

    def test_every_side_lies_between_the_border_and_the_box(self) -> None:
        images = self.cut(self.BOX)
        top, bottom = images[:, 0, 0, 0], images[:, -1, 0, 0]
        left, right = images[:, 0, 0, 1], images[:, 0, -1, 1]
        for sides, (low, high) in (
            (top, (0, self.BOX[0])),
            (left, (0, self.BOX[1])),
            (bottom, (self.BOX[2], 1)),
            (right, (self.BOX[3], 1)),
        ):
            assert sides.min() >= low - 0.005 and sides.max() <= high + 0.005
            # Anywhere in between.
            assert np.ptp(sides) > 0.85 * (high - low)

    def test_the_sides_are_drawn_independently(self) -> None:
        images = self.cut(self.BOX)
        assert abs(np.corrcoef(images[:, 0, 0, 0], images[:, 0, 0, 1])[0, 1]) < 0.35

    def test_a_box_that_is_the_picture_leaves_it_whole(self) -> None:
        images = self.cut((0, 0, 1, 1))
        np.testing.assert_allclose(images[:, 0, 0, :2], 0, atol=1e-6)
        np.testing.assert_allclose(images[:, -1, -1, :2], 1, atol=1e-6)

    def test_less_may_be_cut_away(self) -> None:
        for cut, expected in ((0.0, 0.0), (0.4, 0.4 * self.BOX[1])):
            left = self.cut(self.BOX, cut=cut)[:, 0, 0, 1]
            assert left.max() == pytest.approx(expected, abs=0.02)

    def test_values_are_in_range_and_the_shape_is_known(self) -> None:
        images = self.cut(self.BOX)
        assert images.dtype == np.float32 and images.min() >= 0 and images.max() <= 1
        dataset = tf.data.Dataset.from_tensors(tf.zeros([8, 40, 80, 3], tf.uint8)).map(
            lambda images: random_windows(images, tf.zeros([8, 4]), tf.constant([0, 1]), 20, 30)
        )
        assert dataset.element_spec.shape == (8, 20, 30, 3)

    def test_the_seed_decides(self) -> None:
        np.testing.assert_array_equal(self.cut(self.BOX, 3), self.cut(self.BOX, 3))
        assert np.abs(self.cut(self.BOX, 3) - self.cut(self.BOX, 4)).max() > 0.05

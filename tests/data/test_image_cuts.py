"""Digits and numbers cut out of their pictures."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from tfcamp.data.image_cuts import cut_digits, cut_numbers, join_splits
from tfcamp.data.image_sources import load_image_dataset, rendered_split
from tfcamp.data.image_splits import ImageDataset, ImageRow, ImageSplit, encode_png
from tfcamp.errors import UserError


def pixels(row: ImageRow) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(row.image)))


@pytest.fixture
def split() -> ImageSplit:
    """One picture of 12, in which each pixel is different."""
    picture = np.arange(30 * 40 * 3).reshape(30, 40, 3).astype(np.uint8)
    boxes = np.array([[4, 6, 8, 16], [14, 6, 10, 16]], np.int32)
    row = ImageRow("a.png", encode_png(picture), "12", boxes)
    return ImageSplit("test", 1, (0, 1, 0, 0, 0, 0), lambda: iter([row]))


def test_numbers_are_cut_to_their_boxes(split) -> None:
    (whole,), (cut,) = split, cut_numbers(split, 0.25)
    np.testing.assert_array_equal(pixels(cut), pixels(whole)[2:26, 0:28])
    assert cut.number == "12" and cut.boxes is not None
    assert cut.boxes.tolist() == [[4, 4, 8, 16], [14, 4, 10, 16]]


def test_digits_are_cut_to_squares() -> None:
    dataset = load_image_dataset("sample", data_dir=None, seed=0, sample_rows=20)
    digits = cut_digits(dataset)
    assert digits.single_digit and digits.sha256 == dataset.sha256
    rows, numbers = list(digits.train), [row.number or "" for row in dataset.train]
    assert "".join(row.number or "" for row in rows) == "".join(numbers)
    assert len(rows) == len(digits.train) == sum(map(len, numbers))
    assert digits.train.length_counts == (len(rows), 0, 0, 0, 0, 0)
    assert rows[0].boxes is None and digits.test is not None
    assert len({row.name for row in rows}) == len(rows)


def test_a_square_is_cut_off_at_the_border(split) -> None:
    picture = next(iter(split))
    (one, two) = cut_digits(_dataset(split)).train
    np.testing.assert_array_equal(pixels(one), pixels(picture)[6:22, 0:16])
    np.testing.assert_array_equal(pixels(two), pixels(picture)[6:22, 11:27])


def test_what_is_transparent_is_seen_on_white() -> None:
    """As the exported model sees it, whatever colour lies under it."""
    picture, file = np.zeros((30, 40, 4), np.uint8), io.BytesIO()
    picture[:, 20:] = (0, 255, 0, 51)
    Image.fromarray(picture).save(file, "PNG")
    boxes = np.array([[4, 6, 8, 16], [26, 6, 8, 16]], np.int32)
    row = ImageRow("a.png", file.getvalue(), "12", boxes)
    split = ImageSplit("test", 1, (0, 1, 0, 0, 0, 0), lambda: iter([row]))
    (number,), (one, two) = cut_numbers(split, 0.0), cut_digits(_dataset(split)).train
    assert (pixels(one) == 255).all()
    assert (pixels(two) == [204, 255, 204]).all()
    assert np.unique(pixels(number).reshape(-1, 3), axis=0).tolist() == [[204, 255, 204], [255] * 3]


def test_without_boxes_nothing_can_be_cut(split) -> None:
    bare = dataclasses.replace(split, read=lambda: (r._replace(boxes=None) for r in split.read()))
    for rows in (cut_numbers(bare, 0.1), cut_digits(_dataset(bare)).train):
        with pytest.raises(UserError, match=r"test: a\.png has no boxes"):
            list(rows)


@pytest.mark.parametrize("box", [[40, 6, 8, 16], [4, -16, 8, 16], [4, 6, 0, 16]])
def test_a_box_that_is_not_in_view_is_named(split, box) -> None:
    boxes = np.array([[4, 6, 8, 16], box], np.int32)
    spoilt = dataclasses.replace(
        split, read=lambda: (row._replace(boxes=boxes) for row in split.read())
    )
    for rows in (cut_numbers(spoilt, 0.1), cut_digits(_dataset(spoilt)).train):
        with pytest.raises(
            UserError, match=r"test: a\.png has a box that lies outside of it or has"
        ):
            list(rows)


def test_joined_splits_come_one_after_another(split) -> None:
    joined = join_splits(split, rendered_split("train", 5))
    assert len(joined) == len(list(joined)) == 6
    assert next(iter(joined)).name == "a.png"
    assert sum(joined.length_counts) == 6 and joined.labelled


def _dataset(split: ImageSplit) -> ImageDataset:
    dataset = load_image_dataset("sample", data_dir=None, seed=0, sample_rows=1)
    return dataclasses.replace(dataset, train=split, dev=split, test=None)

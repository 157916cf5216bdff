"""Splits made of splits: digits or numbers cut out of their pictures, several splits as one."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfcamp.data.image_splits import ImageDataset, ImageRow, ImageSplit, encode_png
from tfcamp.errors import UserError
from tfcamp.vision.digits import MAX_DIGITS
from tfcamp.vision.images import decode_pixels
from tfcamp.vision.windows import are_in_view, bounds_of_boxes, digit_squares, windows_around


def cut_digits(dataset: ImageDataset) -> ImageDataset:
    """Returns a data set of single digits, cut out of numbers as SVHN does it.

    Raises:
      UserError: a row has no boxes, or one that is of no use.
    """
    test = None if dataset.test is None else _digits_of(dataset.test)
    return dataclasses.replace(
        dataset,
        train=_digits_of(dataset.train),
        dev=_digits_of(dataset.dev),
        test=test,
        single_digit=True,
    )


def cut_numbers(split: ImageSplit, margin: float) -> ImageSplit:
    """Returns the same rows with each picture cut down to its number.

    Args:
      split: whose rows have boxes.
      margin: what is left around a number, as a share of its height.

    Raises:
      UserError: a row has no boxes, or one that is of no use.
    """

    def rows() -> Iterator[ImageRow]:
        for row in split:
            pixels = _decode(row)
            boxes = _boxes_of(row, pixels, split)
            bounds = bounds_of_boxes(boxes)
            ((window,), _) = windows_around([bounds], [pixels.shape[:2]], margin)
            boxes = boxes - [*window[:2], 0, 0]
            yield row._replace(image=encode_png(_cut(pixels, window)), boxes=boxes)

    return dataclasses.replace(split, read=rows)


def join_splits(*splits: ImageSplit) -> ImageSplit:
    """Returns the rows of several splits, one split after another."""
    return ImageSplit(
        " and ".join(split.origin for split in splits),
        sum(map(len, splits)),
        tuple(map(sum, zip(*(split.length_counts for split in splits), strict=True))),
        lambda: (row for split in splits for row in split),
    )


def _digits_of(split: ImageSplit) -> ImageSplit:
    def rows() -> Iterator[ImageRow]:
        for row in split:
            pixels = _decode(row)
            squares = digit_squares(_boxes_of(row, pixels, split))
            for place, (digit, square) in enumerate(zip(row.number or "", squares, strict=True)):
                image = encode_png(_cut(pixels, square))
                yield ImageRow(f"{row.name}:{place}", image, digit, None)

    num_digits = sum(count * digits for digits, count in enumerate(split.length_counts, 1))
    counts = (num_digits,) + (0,) * (MAX_DIGITS - 1)
    return ImageSplit(f"digits of {split.origin}", num_digits, counts, rows)


def _decode(row: ImageRow) -> npt.NDArray[np.uint8]:
    return decode_pixels(tf.constant(row.image)).numpy()


def _cut(pixels: npt.NDArray[np.uint8], window: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
    """Returns what of a window lies in the picture; at least one pixel."""
    ((left, top, width, height),), _ = windows_around(window[None], [pixels.shape[:2]], 0.0)
    return pixels[top : top + height, left : left + width]


def _boxes_of(
    row: ImageRow, pixels: npt.NDArray[np.uint8], split: ImageSplit
) -> npt.NDArray[np.int32]:
    if row.boxes is None:
        raise UserError(f"{split.origin}: {row.name} has no boxes to cut out by")
    if not are_in_view(row.boxes, pixels.shape[:2]):
        raise UserError(
            f"{split.origin}: {row.name} has a box that lies outside of it or has no area: correct "
            "it, or leave the picture out"
        )
    return row.boxes

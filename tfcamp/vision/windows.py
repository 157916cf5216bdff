"""Which part of a picture to look at: around the boxes of digits, and at random for training."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf


class Windows(NamedTuple):
    """A part of each picture, and where in it the number stands.

    Attributes:
      windows: int32[B, 4], left, top, width, height in pixels, inside the picture.
      boxes: float32[B, 4], top, left, bottom, right of the number as shares of the window's sides.
    """

    windows: npt.NDArray[np.int32]
    boxes: npt.NDArray[np.float32]


def bounds_of_boxes(boxes: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """Returns left, top, width, height of the whole that boxes int[N, 4] make up, likewise.

    >>> bounds_of_boxes([[3, 5, 10, 20], [12, 4, 8, 20]]).tolist()
    [3, 4, 17, 21]
    """
    boxes = np.asarray(boxes)
    begin, end = boxes[:, :2].min(0), (boxes[:, :2] + boxes[:, 2:]).max(0)
    return np.concatenate([begin, end - begin]).astype(np.int32)


def are_in_view(boxes: npt.ArrayLike, size: Sequence[int]) -> bool:
    """Tells whether each box has an area, some of which lies in the picture.

    Args:
      boxes: int[N, 4], left, top, width, height.
      size: height and width of the picture.

    >>> are_in_view([[-9, 0, 10, 20]], (32, 70)), are_in_view([[70, 0, 10, 20]], (32, 70))
    (True, False)
    """
    boxes = np.asarray(boxes, np.int64)
    begin = np.maximum(boxes[:, :2], 0)
    end = np.minimum(boxes[:, :2] + boxes[:, 2:], size[::-1])
    return bool((begin < end).all())


def windows_around(bounds: npt.ArrayLike, sizes: npt.ArrayLike, margin: float) -> Windows:
    """Returns the numbers' bounds with a margin on all sides, cut off at the pictures' borders.

    Args:
      bounds: int[B, 4], left, top, width, height; what sticks out of the picture is cut off.
      sizes: int[B, 2], height and width of the pictures.
      margin: on each side, as a share of the number's height.

    >>> windows_around([[30, 20, 30, 40]], [[100, 70]], margin=0.25)
    Windows(windows=array([[20, 10, 50, 60]], dtype=int32),
            boxes=array([[0.16666667, 0.2       , 0.8333333 , 0.8       ]], dtype=float32))
    """
    bounds = np.asarray(bounds, np.int64)
    limits = np.asarray(sizes, np.int64)[:, ::-1]  # width, height
    begin = np.clip(bounds[:, :2], 0, limits - 1)
    end = np.clip(bounds[:, :2] + bounds[:, 2:], begin + 1, limits)
    border = np.round(margin * (end - begin)[:, 1:]).astype(np.int64)
    outer_begin, outer_end = np.maximum(begin - border, 0), np.minimum(end + border, limits)
    extent = outer_end - outer_begin
    shares = [(begin - outer_begin) / extent, (end - outer_begin) / extent]
    boxes = np.concatenate([share[:, ::-1] for share in shares], axis=1)
    windows = np.concatenate([outer_begin, extent], axis=1)
    return Windows(windows.astype(np.int32), boxes.astype(np.float32))


def digit_squares(boxes: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """Returns the squares that SVHN cuts its single digits by, int32[N, 4] as the boxes.

    The side is the longer one of the box (Netzer et al., 2011): beside a narrow digit its
    neighbours come into view.

    >>> digit_squares([[10, 4, 8, 20]]).tolist()
    [[4, 4, 20, 20]]
    """
    boxes = np.asarray(boxes)
    side = boxes[:, 2:].max(1, keepdims=True)
    return np.concatenate([boxes[:, :2] - (side - boxes[:, 2:]) // 2, side, side], axis=1)


def random_windows(
    images: Any, boxes: Any, seed: Any, height: int, width: int, *, largest_cut: float = 1.0
) -> tf.Tensor:
    """Cuts out the numbers with random margins, and brings them to one size.

    Each side of a window lies anywhere between the image's border and the number (Goodfellow et
    al., 2013, sec. 5.1, cut at random places too).

    Args:
      images: uint8[B, h, w, 3].
      boxes: float32[B, 4], top, left, bottom, right of the numbers as shares of the sides.
      seed: int32[2].
      height: H.
      width: W.
      largest_cut: how much of each margin may be cut away, as a share.

    Returns:
      float32[B, H, W, 3] in [0, 1].
    """
    num_images = tf.shape(images)[0]
    shares = tf.random.stateless_uniform(tf.stack([num_images, 4]), seed, maxval=largest_cut)
    borders = tf.constant([0.0, 0.0, 1.0, 1.0])
    windows = borders + shares * (boxes - borders)
    cut = tf.image.crop_and_resize(images, windows, tf.range(num_images), [height, width])
    return tf.ensure_shape(cut / 255.0, [images.shape[0], height, width, 3])

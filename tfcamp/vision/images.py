"""Encoded images to pixels, in core TensorFlow ops: for training and inside the exported model.

A client may send anything, so every image of a batch is decoded for itself: one that is broken or
too large becomes zeros and is reported, and its neighbours do not notice. How many pixels an image
has is read from its header first, since a file of 20 kB can hold 13,000 x 13,000 of them.
"""

from typing import Any, NamedTuple

import tensorflow as tf

# A 24-megapixel camera's photograph passes. Decoded, the largest image takes 100 MB; while it is
# decoded, three times that if it is a progressive JPEG, and five times if it has an alpha channel.
MAX_PIXELS = 2**25
# Of the images that are decoded at the same time, or memory would grow with the number of cores.
_MAX_BYTES_AT_ONCE = 2**29
# tf.data's own limit, where it chooses how many elements to work on at the same time.
_MAX_IMAGES_AT_ONCE = 16

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8\xff"


class DecodedImages(NamedTuple):
    """A batch of images.

    Attributes:
      images: float32[B, H, W, 3] in [0, 1], red, green, blue; zeros where an image is not valid.
      valid: bool[B], whether the image could be decoded.
    """

    images: tf.Tensor
    valid: tf.Tensor


def decode_images(
    encoded: tf.Tensor,
    height: int,
    width: int,
    *,
    windows: tf.Tensor | None = None,
    max_pixels: int = MAX_PIXELS,
) -> DecodedImages:
    """Decodes PNG and JPEG images of any size and brings them to one size.

    Grey, palette, 16-bit, RGBA and CMYK images become RGB with 8 bits a channel. What an
    alpha channel makes transparent is seen on white; a colour that a palette or a key declares
    transparent is seen as itself. Pixels are taken as they are stored, whatever orientation a
    camera noted in EXIF: `tfcamp.data.image_splits.turn_upright` is for that. An image is not valid
    where it is neither PNG nor JPEG, is cut off or damaged, or has more than `max_pixels` pixels.

    Images are stretched to the size. A house number fills its picture, so stretching shows each
    digit with all the pixels that there are; black bars would spend them on nothing.

    Args:
      encoded: string[B], files' contents.
      height: rows of the result.
      width: columns of the result.
      windows: int32[B, 4], the part of each image to take: left, top, width, height in its pixels
        (what lies outside the image is cut off); None for the whole.
      max_pixels: limit of an image's own width times height.
    """
    encoded = tf.convert_to_tensor(encoded, tf.string)
    batch_size = tf.size(encoded)
    sizes = image_sizes(encoded)
    # Each side too: a PNG can state sides whose product exceeds 64 bits.
    in_range = tf.reduce_all((sizes > 0) & (sizes <= max_pixels), axis=1)
    num_pixels = tf.reduce_prod(sizes, axis=1)
    is_small = in_range & (num_pixels <= max_pixels)
    rows = tf.where(is_small)[:, 0]
    # What decoding takes for a moment.
    num_bytes = tf.where(_has_alpha(encoded), 16 * num_pixels, 9 * num_pixels)
    num_fitting = tf.reduce_min(_MAX_BYTES_AT_ONCE // tf.where(is_small, num_bytes, 1))
    at_once: Any = tf.clip_by_value(num_fitting, 1, _MAX_IMAGES_AT_ONCE)

    elements = [rows, tf.gather(encoded, rows)]
    if windows is not None:
        elements.append(tf.gather(tf.cast(windows, tf.int32), rows))

    def decode(row: tf.Tensor, data: tf.Tensor, *window: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = decode_pixels(data)
        if window:
            pixels = _take_window(pixels, *window)
        return row, tf.image.resize(pixels, [height, width], antialias=True) / 255.0

    decoded = tf.data.Dataset.from_tensor_slices(tuple(elements)).map(
        decode, num_parallel_calls=at_once
    )
    none = (rows[:0], tf.zeros([0, height, width, 3]))
    rows, images = _all_that_succeed(decoded, batch_size, none)
    shape = tf.stack([batch_size, height, width, 3])
    indices = tf.cast(rows[:, tf.newaxis], tf.int32)
    images = tf.ensure_shape(tf.scatter_nd(indices, images, shape), [None, height, width, 3])
    return DecodedImages(images, tf.scatter_nd(indices, tf.ones_like(rows), shape[:1]) > 0)


def image_sizes(encoded: tf.Tensor) -> tf.Tensor:
    """Returns the heights and widths, int64[B, 2], that the headers of PNGs and JPEGs state.

    Args:
      encoded: string[B], files' contents.

    Returns:
      Zeros where there is no such header.

    >>> png = tf.io.encode_png(tf.zeros([20, 30, 3], tf.uint8))
    >>> image_sizes(tf.stack([png, "GIF89a"])).numpy().tolist()
    [[20, 30], [0, 0]]
    """
    sizes = tf.zeros([tf.size(encoded), 2], tf.int64)
    is_png = _begins_with(encoded, _PNG_SIGNATURE)
    is_jpeg = _begins_with(encoded, _JPEG_SIGNATURE)
    sizes = tf.where(is_png[:, tf.newaxis], _png_sizes(encoded), sizes)
    return tf.where(is_jpeg[:, tf.newaxis], _jpeg_sizes(encoded, is_jpeg), sizes)


def decode_pixels(data: tf.Tensor) -> tf.Tensor:
    """Returns the pixels of one image, uint8[h, w, 3], as :func:`decode_images` sees them.

    Args:
      data: string[], the content of a PNG or JPEG file.

    Raises:
      tf.errors.InvalidArgumentError: it is damaged; its size is not checked.
    """
    is_jpeg = _begins_with(data, _JPEG_SIGNATURE)
    return tf.switch_case(
        tf.where(is_jpeg, 0, tf.where(_has_alpha(data), 2, 1)),
        [
            # The default method is faster, less exact, and not the same on every machine.
            lambda: tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE"),
            lambda: tf.io.decode_png(data, channels=3),
            lambda: _on_white(tf.io.decode_png(data, channels=4)),
        ],
    )


def _all_that_succeed(dataset: tf.data.Dataset, num_elements: tf.Tensor, none: Any) -> Any:
    """Returns the elements that can be computed, in their order, as one batch.

    What fails in a data set can be passed over; what fails in a graph fails all of it.

    Args:
      dataset: a short one, whose elements may fail.
      num_elements: int32[], at least as many as it has.
      none: what to return where all fail.
    """
    batch = dataset.ignore_errors().batch(tf.maximum(tf.cast(num_elements, tf.int64), 1))
    # The one batch, or else what stands after it. `reduce` would optimise the data set first, which
    # takes longer than the few elements.
    return batch.concatenate(tf.data.Dataset.from_tensors(none)).take(1).get_single_element()


def _begins_with(encoded: tf.Tensor, signature: bytes) -> tf.Tensor:
    return tf.strings.substr(encoded, 0, len(signature)) == signature


def _has_alpha(encoded: tf.Tensor) -> tf.Tensor:
    """Tells whether PNGs are grey or RGB with alpha: colour types 4 and 6, which the 26th byte is.

    A palette is not one of them: decoded with four channels, its alpha is left undefined by
    TensorFlow where no colour is clear.
    """
    place = tf.minimum(tf.strings.length(encoded), 25)
    colour_type = tf.strings.substr(encoded, place, tf.ones_like(place))
    has_alpha = (colour_type == b"\x04") | (colour_type == b"\x06")
    return _begins_with(encoded, _PNG_SIGNATURE) & has_alpha


def _png_sizes(encoded: tf.Tensor) -> tf.Tensor:
    """The first chunk is IHDR: its name, then width and height with four bytes each."""
    start = tf.minimum(tf.strings.length(encoded), 12)
    parts = tf.strings.substr(encoded, start, tf.fill(tf.shape(start), 12))
    # Zeros stand for what is missing at the end.
    header = tf.io.decode_raw(parts, tf.uint8, fixed_length=12)
    sides = tf.cast(tf.reshape(header[:, 4:], [-1, 2, 4]), tf.int64) * [2**24, 2**16, 2**8, 1]
    sizes = tf.reverse(tf.reduce_sum(sides, axis=2), [1])
    is_header = tf.reduce_all(header[:, :4] == list(b"IHDR"), axis=1, keepdims=True)
    return tf.where(is_header, sizes, tf.zeros_like(sizes))


def _jpeg_sizes(encoded: tf.Tensor, is_jpeg: tf.Tensor) -> tf.Tensor:
    """Asks the decoder itself: who walks the segments in another way can be shown other sizes."""
    rows = tf.where(is_jpeg)[:, 0]

    def read_header(row: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return row, tf.io.extract_jpeg_shape(encoded[row], tf.int64)[:2]

    read = tf.data.Dataset.from_tensor_slices(rows).map(read_header)
    rows, sizes = _all_that_succeed(read, tf.size(encoded), (rows[:0], tf.zeros([0, 2], tf.int64)))
    return tf.scatter_nd(rows[:, tf.newaxis], sizes, [tf.size(encoded, tf.int64), 2])


def _on_white(pixels: tf.Tensor) -> tf.Tensor:
    """Lays uint8[h, w, 4] on white: 255 - (255 - colour) alpha / 255, rounded, in little memory."""
    colour, alpha = tf.split(pixels, [3, 1], axis=2)
    darkness = tf.cast(255 - colour, tf.uint16) * tf.cast(alpha, tf.uint16)
    return 255 - tf.cast((darkness + 127) // 255, tf.uint8)


def _take_window(pixels: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Cuts left, top, width, height out of an image; at least one pixel of it remains."""
    size = tf.shape(pixels)[:2]
    corner, extent = tf.reverse(window[:2], [0]), tf.reverse(window[2:], [0])
    begin = tf.clip_by_value(corner, 0, size - 1)
    end = tf.clip_by_value(corner + extent, begin + 1, size)
    return pixels[begin[0] : end[0], begin[1] : end[1]]

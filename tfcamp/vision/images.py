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
# A photograph has about ten segments before its frame header, one with a large colour profile or
# a depth map some hundreds. The limit bounds the work on a file made of nothing else.
_MAX_JPEG_SEGMENTS = 512


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
    keep_aspect: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> DecodedImages:
    """Decodes PNG and JPEG images of any size and brings them to one size.

    Grey, palette, 16-bit, RGBA and CMYK images become RGB with 8 bits a channel. What an
    alpha channel makes transparent is seen on white; a colour that a palette or a key declares
    transparent is seen as itself. Pixels are taken as they are stored, whatever orientation a
    camera noted in EXIF: `tfcamp.data.image_splits.turn_upright` is for that. An image is not valid
    where it is neither PNG nor JPEG, is cut off or damaged, or has more than `max_pixels` pixels.

    Images are stretched to the size unless `keep_aspect` asks for black bars. A house number fills
    its picture, so stretching shows each digit with all the pixels that there are, and three
    digits about as wide as they are tall; bars would spend two thirds of a 1:2 image on nothing
    where the number is one digit.

    Args:
      encoded: string[B], files' contents.
      height: rows of the result.
      width: columns of the result.
      windows: int32[B, 4], the part of each image to take: left, top, width, height in its pixels
        (what lies outside the image is cut off); None for the whole.
      keep_aspect: whether to keep the ratio of the sides.
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
        return row, _resize(pixels, height, width, keep_aspect) / 255.0

    # What fails in a data set can be passed over; what fails in a graph fails all of it.
    decoded = (
        tf.data.Dataset.from_tensor_slices(tuple(elements))
        .map(decode, num_parallel_calls=at_once)
        .ignore_errors()
        .batch(tf.maximum(tf.cast(batch_size, tf.int64), 1))
        .with_options(_options_of_a_short_dataset())
    )
    # At most one batch comes out, and none where no image is valid.
    none = (rows[:0], tf.zeros([0, height, width, 3]))
    rows, images = decoded.reduce(none, lambda _, batch: batch)
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


def _options_of_a_short_dataset() -> tf.data.Options:
    """Setting up what speeds up a long data set takes longer than the few elements of this one."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return options


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


def _bytes_at(encoded: tf.Tensor, positions: tf.Tensor, length: int) -> tf.Tensor:
    """Returns int32[B, length], the bytes from each position on; zeros beyond the end."""
    positions = tf.clip_by_value(positions, 0, tf.strings.length(encoded))
    parts = tf.strings.substr(encoded, positions, tf.fill(tf.shape(positions), length))
    return tf.cast(tf.io.decode_raw(parts, tf.uint8, fixed_length=length), tf.int32)


def _png_sizes(encoded: tf.Tensor) -> tf.Tensor:
    """The first chunk is IHDR: its name, then width and height with four bytes each."""
    header = _bytes_at(encoded, tf.fill([tf.size(encoded)], 12), 12)
    sides = tf.cast(tf.reshape(header[:, 4:], [-1, 2, 4]), tf.int64) * [2**24, 2**16, 2**8, 1]
    sizes = tf.reverse(tf.reduce_sum(sides, axis=2), [1])
    is_header = tf.reduce_all(header[:, :4] == list(b"IHDR"), axis=1, keepdims=True)
    return tf.where(is_header, sizes, tf.zeros_like(sizes))


def _jpeg_sizes(encoded: tf.Tensor, is_jpeg: tf.Tensor) -> tf.Tensor:
    """Walks the segments of all files at once to their frame headers (ITU T.81, B.1 and B.2)."""

    def unfinished(positions: tf.Tensor, sizes: tf.Tensor) -> tf.Tensor:
        return tf.reduce_any(positions >= 0)

    def advance(positions: tf.Tensor, sizes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # FF, marker, length (which counts itself), precision, height, width.
        segments = _bytes_at(encoded, positions, 9)
        marker, length = segments[:, 1], 256 * segments[:, 2] + segments[:, 3]
        walking = (positions >= 0) & (segments[:, 0] == 0xFF)
        # DHT, JPG and DAC stand among the sixteen frame headers without being one.
        is_other = tf.reduce_any(marker[:, tf.newaxis] == [0xC4, 0xC8, 0xCC], axis=1)
        is_frame = walking & (tf.bitwise.bitwise_and(marker, 0xF0) == 0xC0)
        is_frame &= tf.logical_not(is_other)
        found = 256 * segments[:, 5::2] + segments[:, 6::2]
        sizes = tf.where(is_frame[:, tf.newaxis], found, sizes)
        # FF may be repeated before a marker. The picture itself comes after the frame header.
        is_fill, is_picture = marker == 0xFF, (marker == 0xD9) | (marker == 0xDA)
        stops = is_frame | is_picture | (length < 2)
        walking &= is_fill | tf.logical_not(stops)
        positions += tf.where(is_fill, 1, 2 + length)
        return tf.where(walking, positions, -1), sizes

    start = (tf.where(is_jpeg, 2, -1), tf.zeros([tf.size(encoded), 2], tf.int32))
    _, sizes = tf.while_loop(unfinished, advance, start, maximum_iterations=_MAX_JPEG_SEGMENTS)
    return tf.cast(sizes, tf.int64)


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


def _resize(pixels: tf.Tensor, height: int, width: int, keep_aspect: bool) -> tf.Tensor:
    """Returns float32[height, width, 3] in [0, 255]; a smaller image averages what it covers."""
    target = tf.constant([height, width], tf.float32)
    size = tf.cast(tf.shape(pixels)[:2], tf.float32)
    scale = target / size
    if keep_aspect:
        scale = tf.fill([2], tf.reduce_min(scale))
    # `tf.image.resize(antialias=True)` is this op without the translation.
    return tf.raw_ops.ScaleAndTranslate(
        images=pixels[tf.newaxis],
        size=[height, width],
        scale=scale,
        translation=(target - size * scale) / 2.0,
        kernel_type="triangle",
        antialias=True,
    )[0]

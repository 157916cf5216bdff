"""Augmentation for digits: batched, seeded, in core ops; every image draws its own parameters.

What a photograph of a number may go through without becoming another number: a shift, another size,
a small turn, shear and perspective, other colours, light digits for dark ones, blur, noise,
something that stands in front. Nothing here mirrors: a mirrored 2 is no digit, and a 6 upside down
is a 9.

Every op takes a seed int32[2] and gives the same images for the same seed, whether it runs eagerly,
in a `tf.function` or in a data set; images are float32[B, H, W, 3] in [0, 1] and stay so.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf


@dataclass(frozen=True)
class AugmentConfig:
    """How far each image may be changed; 0 turns a change off.

    Attributes:
      shift: largest shift as a share of the side, in each direction.
      scale: largest change of size: between 1 / (1 + scale) and 1 + scale, log-uniform.
      stretch: the same for the width alone.
      rotation: largest turn in degrees, each way.
      shear: largest slant, in pixels of x for a pixel of y.
      perspective: largest difference in size between opposite sides of the image, as a share.
      brightness: largest shift of all values.
      contrast: largest change of contrast: between 1 / (1 + contrast) and 1 + contrast.
      colour: how far the channels are mixed with each other and scaled apart.
      inversion: probability that light and dark are exchanged.
      blur: largest standard deviation in pixels, up to 3.
      noise: largest standard deviation of the noise.
      cutout: largest side of the erased rectangle as a share of the image's.
      cutout_probability: how many images have one.
    """

    shift: float = 0.08
    scale: float = 0.2
    stretch: float = 0.2
    rotation: float = 10.0
    shear: float = 0.2
    perspective: float = 0.1
    brightness: float = 0.2
    contrast: float = 0.5
    colour: float = 0.3
    inversion: float = 0.3
    blur: float = 1.0
    noise: float = 0.04
    cutout: float = 0.3
    cutout_probability: float = 0.3

    def __post_init__(self) -> None:
        """Refuses what cannot be.

        Raises:
          ValueError: a negative value, a probability above 1, or a turn or perspective so large
            that digits would no longer be themselves.
        """
        limits = {
            "shift": 0.5,
            "rotation": 45.0,
            "shear": 1.0,
            "perspective": 0.5,
            "inversion": 1.0,
            "blur": 3.0,
            "cutout": 1.0,
            "cutout_probability": 1.0,
        }
        for name, value in vars(self).items():
            limit = limits.get(name, math.inf)
            if not 0 <= value <= limit:
                raise ValueError(f"{name} must be between 0 and {limit}, got {value}")


def augment(images: tf.Tensor, seed: tf.Tensor, config: AugmentConfig) -> tf.Tensor:
    """Changes images at random: place, colours, sharpness, and something in front.

    Args:
      images: float32[B, H, W, 3] in [0, 1].
      seed: int32[2]; the same seed gives the same result.
      config: how far.

    Returns:
      float32[B, H, W, 3] in [0, 1].
    """
    seeds = _split(seed, 5)
    images = warp(images, random_transforms(images, seeds[0], config))
    images = change_colours(images, seeds[1], config)
    if config.blur:
        images = blur(images, seeds[2], config.blur)
    if config.noise:
        images = add_noise(images, seeds[3], config.noise)
    if config.cutout and config.cutout_probability:
        images = cutout(images, seeds[4], config.cutout, config.cutout_probability)
    return images


def random_transforms(images: tf.Tensor, seed: tf.Tensor, config: AugmentConfig) -> tf.Tensor:
    """Draws a projective map for each image, from places in the result to places in the image.

    Returns:
      float32[B, 8], rows a0 a1 a2 b0 b1 b2 c0 c1 of
      ``x' = (a0 x + a1 y + a2) / (c0 x + c1 y + 1)``, ``y' = (b0 x + b1 y + b2) / (...)``.
    """
    height, width = tf.unstack(tf.cast(tf.shape(images)[1:3], tf.float32))
    shape = [tf.shape(images)[0]]
    seeds = _split(seed, 8)
    angle = _either_way(seeds[0], shape, math.radians(config.rotation))
    size = tf.exp(_either_way(seeds[1], shape, math.log1p(config.scale)))
    stretch = tf.exp(_either_way(seeds[2], shape, math.log1p(config.stretch)))
    shear = _either_way(seeds[3], shape, config.shear)
    right = _either_way(seeds[4], shape, config.shift) * width
    down = _either_way(seeds[5], shape, config.shift) * height
    # Over the image's side, the denominator changes by `perspective` at most.
    c0 = _either_way(seeds[6], shape, config.perspective / 2) / width
    c1 = _either_way(seeds[7], shape, config.perspective / 2) / height
    # About the centre: turn x slant x size. The determinant size**2 * stretch is positive: no map
    # mirrors.
    cosine, sine = tf.cos(angle), tf.sin(angle)
    a0, a1 = size * stretch * cosine, size * (shear * cosine - sine)
    b0, b1 = size * stretch * sine, size * (shear * sine + cosine)
    # x and y are counted from the centre p above; the op counts them from the corner:
    # p + (A (x - p) + t) / (1 + c (x - p)), brought to the op's form.
    px, py = (width - 1) / 2, (height - 1) / 2
    unit = 1.0 - c0 * px - c1 * py
    rows = [
        a0 + px * c0,
        a1 + px * c1,
        px * unit - a0 * px - a1 * py + right,
        b0 + py * c0,
        b1 + py * c1,
        py * unit - b0 * px - b1 * py + down,
        c0,
        c1,
    ]
    return tf.stack(rows, axis=1) / unit[:, tf.newaxis]


def warp(images: tf.Tensor, transforms: tf.Tensor) -> tf.Tensor:
    """Samples images float32[B, H, W, 3] bilinearly at transforms float32[B, 8].

    Outside the image its edge is repeated: a black border would tell the model how it was turned.
    """
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    return tf.ensure_shape(warped, images.shape)


def change_colours(images: tf.Tensor, seed: tf.Tensor, config: AugmentConfig) -> tf.Tensor:
    """Changes contrast and brightness, mixes the channels, and exchanges light and dark.

    All of it is one matrix and one shift of each pixel's colour, so the digits' shapes stay.
    """
    shape = [tf.shape(images)[0]]
    seeds = _split(seed, 5)
    inverted = _uniform(seeds[0], [*shape, 1]) < config.inversion
    mixing = _either_way(seeds[1], [*shape, 3, 3], config.colour)
    # Rows that sum to 1 keep grey grey; the lamp's colour is what tints it.
    mixing += tf.eye(3) - tf.reduce_mean(mixing, axis=2, keepdims=True)
    mixing *= 1.0 + _either_way(seeds[2], [*shape, 3, 1], config.colour / 2)
    gain = tf.exp(_either_way(seeds[3], [*shape, 1], math.log1p(config.contrast)))
    brightness = _either_way(seeds[4], [*shape, 1], config.brightness)
    # Contrast is a gain about the new mean colour, so that it does not change the brightness too.
    mean = tf.reduce_mean(images, axis=[1, 2])
    new_mean = tf.linalg.matvec(mixing, tf.where(inverted, 1.0 - mean, mean))
    matrix = tf.where(inverted, -gain, gain)[:, :, tf.newaxis] * mixing
    offset = new_mean + brightness - tf.linalg.matvec(matrix, mean)
    pixels = tf.reshape(images, tf.stack([*shape, -1, 3]))
    pixels = tf.matmul(pixels, matrix, transpose_b=True) + offset[:, tf.newaxis]
    return tf.reshape(tf.clip_by_value(pixels, 0.0, 1.0), tf.shape(images))


def blur(images: tf.Tensor, seed: tf.Tensor, largest: float) -> tf.Tensor:
    """Blurs each image with a Gaussian of its own, standard deviation up to `largest` pixels.

    It is built from box filters of three pixels, whose variances add up: a convolution with a
    different kernel for each image would be several times slower.
    """
    sigma = _uniform(seed, [tf.shape(images)[0], 1, 1, 1], 0.0, largest)
    # [w, 1 - 2w, w] has the variance 2w; w <= 1/3 a pass.
    passes = max(1, math.ceil(largest**2 * 1.5))
    weight = tf.square(sigma) / (2.0 * passes)
    for _ in range(passes):
        for axis in (1, 2):
            images += weight * _second_difference(images, axis)
    return images


def add_noise(images: tf.Tensor, seed: tf.Tensor, largest: float) -> tf.Tensor:
    """Adds grey Gaussian noise; each image draws its standard deviation up to `largest`."""
    seeds = _split(seed, 2)
    sigma = _uniform(seeds[0], [tf.shape(images)[0], 1, 1, 1], 0.0, largest)
    noise = tf.random.stateless_normal(tf.shape(images[:, :, :, :1]), seeds[1])
    return tf.clip_by_value(images + sigma * noise, 0.0, 1.0)


def cutout(images: tf.Tensor, seed: tf.Tensor, largest: float, probability: float) -> tf.Tensor:
    """Paints a rectangle of one random grey over some of the images (DeVries and Taylor, 2017).

    Its sides are up to `largest` of the image's, and its centre is anywhere in the image.
    """
    num_images, height, width = tf.unstack(tf.shape(images)[:3])
    seeds = _split(seed, 3)
    drawn = _uniform(seeds[0], [num_images]) < probability
    boxes = _uniform(seeds[1], [4, num_images, 1])
    shade = _uniform(seeds[2], [num_images, 1, 1, 1])
    rows = (tf.range(height, dtype=tf.float32) + 0.5) / tf.cast(height, tf.float32)
    columns = (tf.range(width, dtype=tf.float32) + 0.5) / tf.cast(width, tf.float32)
    in_rows = tf.abs(rows - boxes[0]) < boxes[1] * largest / 2
    in_columns = tf.abs(columns - boxes[2]) < boxes[3] * largest / 2
    inside = (
        in_rows[:, :, tf.newaxis] & in_columns[:, tf.newaxis] & drawn[:, tf.newaxis, tf.newaxis]
    )
    return tf.where(inside[..., tf.newaxis], shade, images)


class MixedBatch(NamedTuple):
    """A batch whose images were mixed in pairs.

    Attributes:
      images: float32[B, H, W, 3] in [0, 1].
      labels: float32[B, C], each row a distribution.
    """

    images: tf.Tensor
    labels: tf.Tensor


def mixup(images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, alpha: float = 0.2) -> MixedBatch:
    """Blends each image and its label with another of the batch (Zhang et al., 2018).

    Args:
      images: float32[B, H, W, 3].
      labels: float32[B, C], one-hot; for single digits, as the labels of a number do not mix.
      seed: int32[2].
      alpha: the share of the image itself is drawn from Beta(alpha, alpha).

    Raises:
      ValueError: alpha is below 0.05.
    """
    seeds = _split(seed, 2)
    partners = _permutation(images, seeds[0])
    share = _beta(seeds[1], tf.shape(images)[0], alpha)
    image_share = share[:, tf.newaxis, tf.newaxis, tf.newaxis]
    blended = image_share * images + (1.0 - image_share) * tf.gather(images, partners)
    return MixedBatch(blended, _blend_labels(labels, partners, share))


def cutmix(images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, alpha: float = 1.0) -> MixedBatch:
    """Pastes a rectangle of another image of the batch into each (Yun et al., 2019).

    The labels are mixed by the areas that can be seen. Arguments as for :func:`mixup`; the area of
    the image itself is drawn from Beta(alpha, alpha) before the rectangle is cut at the border.
    """
    num_images, height, width = tf.unstack(tf.shape(images)[:3])
    seeds = _split(seed, 3)
    partners = _permutation(images, seeds[0])
    side = tf.sqrt(1.0 - _beta(seeds[1], num_images, alpha))
    centre = _uniform(seeds[2], [2, num_images, 1])
    rows = (tf.range(height, dtype=tf.float32) + 0.5) / tf.cast(height, tf.float32)
    columns = (tf.range(width, dtype=tf.float32) + 0.5) / tf.cast(width, tf.float32)
    in_rows = tf.abs(rows - centre[0]) < side[:, tf.newaxis] / 2
    in_columns = tf.abs(columns - centre[1]) < side[:, tf.newaxis] / 2
    inside = in_rows[:, :, tf.newaxis] & in_columns[:, tf.newaxis]
    share = 1.0 - tf.reduce_mean(tf.cast(inside, tf.float32), axis=[1, 2])
    pasted = tf.where(inside[..., tf.newaxis], tf.gather(images, partners), images)
    return MixedBatch(pasted, _blend_labels(labels, partners, share))


def _blend_labels(labels: tf.Tensor, partners: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    share = share[:, tf.newaxis]
    return share * labels + (1.0 - share) * tf.gather(labels, partners)


def _permutation(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns int32[B], the positions of the batch in random order."""
    return tf.argsort(_uniform(seed, [tf.shape(images)[0]]))


def _beta(seed: tf.Tensor, count: tf.Tensor, alpha: float) -> tf.Tensor:
    """Returns float32[B] drawn from Beta(alpha, alpha): x / (x + y) of two gamma variables."""
    # With a smaller alpha both gamma variables underflow now and then.
    if not alpha >= 0.05:
        raise ValueError(f"alpha must be at least 0.05, got {alpha}")
    gamma = tf.random.stateless_gamma(tf.stack([2, count]), seed, tf.constant(alpha))
    return (gamma[0] + 1e-38) / (gamma[0] + gamma[1] + 2e-38)


def _second_difference(images: tf.Tensor, axis: int) -> tf.Tensor:
    """Returns left - 2 x middle + right along an axis, the edge repeated."""
    size = tf.shape(images)[axis]
    first, last = tf.gather(images, [0], axis=axis), tf.gather(images, [size - 1], axis=axis)
    before = tf.concat([first, _without_end(images, axis, 0)], axis)
    after = tf.concat([_without_end(images, axis, 1), last], axis)
    return before - 2.0 * images + after


def _without_end(images: tf.Tensor, axis: int, start: int) -> tf.Tensor:
    """Leaves out the last row or column (start 0) or the first (start 1)."""
    stop = None if start else -1
    return images[:, start:stop] if axis == 1 else images[:, :, start:stop]


def _split(seed: tf.Tensor, count: int) -> list[tf.Tensor]:
    """Returns seeds that are as good as independent of each other."""
    return tf.unstack(tf.random.experimental.stateless_split(seed, count), num=count)


def _uniform(
    seed: tf.Tensor, shape: Sequence[int | tf.Tensor], low: float = 0.0, high: float = 1.0
) -> tf.Tensor:
    return tf.random.stateless_uniform(tf.stack(shape), seed, low, high)


def _either_way(seed: tf.Tensor, shape: Sequence[int | tf.Tensor], largest: float) -> tf.Tensor:
    """Returns values between -largest and largest."""
    return _uniform(seed, shape, -largest, largest)

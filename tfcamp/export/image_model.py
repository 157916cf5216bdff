"""Decoding, model and reading of a number as SavedModel signatures of encoded images."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfcamp.export.folders import (
    open_saved_model,
    variables_of,
    without_cudnn,
    write_saved_model,
)
from tfcamp.export.grad_cam import grad_cam, split_at_features
from tfcamp.vision.augment import warp
from tfcamp.vision.digits import join_digits
from tfcamp.vision.images import decode_images

# From a model's outputs to digits int32[B, N], NO_DIGIT beyond the number, and its log-probability
# float32[B].
Decoder = Callable[[Any], tuple[tf.Tensor, tf.Tensor]]

# How an image is looked at several times: how much of its width and of its height is seen, and how
# far to the right, as shares of them. The steps are small, because CTC's frames are averaged place
# by place; none goes up or down, where a number has no room.
_VIEWS = ((1.0, 1.0, 0.0), (0.95, 0.97, 0.0), (1.05, 1.0, 0.0), (1.0, 1.0, 0.02), (1.0, 1.0, -0.02))


class NumberService(tf.Module):
    """Encoded images in, numbers out; what cannot be decoded is read as "" with probability 0."""

    def __init__(self, model: keras.Model, decode: Decoder) -> None:
        """Keeps the parts.

        Args:
          model: float32[B, H, W, 3] in [0, 1] to logits, or to several of them by name.
          decode: from the model's outputs to the number.
        """
        super().__init__(name="numbers")
        self._weights = variables_of(without_cudnn(model))
        self._network = lambda pixels: model(pixels, training=False)
        self._decode = decode
        self._height, self._width = model.input.shape[1:3]
        image = tf.TensorSpec([None], tf.string, name="image")
        pixels = tf.TensorSpec([None, self._height, self._width, 3], tf.float32, name="pixels")
        self.logits = tf.function(self._logits, input_signature=[pixels])
        self.heatmap = None
        if any(layer.name == "features" for layer in model.layers):
            trunk, head = split_at_features(model)
            self._trunk = lambda pixels: trunk(pixels, training=False)
            self._head = lambda features: head(features, training=False)
            self.heatmap = tf.function(self._heatmap, input_signature=[image])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image")])
    def read(self, image):
        """Reads the numbers on string[B], contents of PNG or JPEG files.

        The EXIF orientation tag is ignored; `tfcamp.data.image_splits.turn_upright` applies it.

        Returns:
          ``number`` string[B] and ``probability`` float32[B], of the whole number.
        """
        images, valid = decode_images(image, self._height, self._width)
        return self._answer(self._network(images), valid)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image")])
    def read_several_views(self, image):
        """Reads each image as it is, wider, narrower and moved, and averages log-probabilities.

        It takes as long as there are views. Arguments and results are those of ``read``.
        """
        images, valid = decode_images(image, self._height, self._width)
        transforms = tf.repeat(self._views(), tf.shape(images)[0], axis=0)
        views = warp(tf.tile(images, [len(_VIEWS), 1, 1, 1]), transforms)

        def average(logits: tf.Tensor) -> tf.Tensor:
            log_probabilities = tf.nn.log_softmax(tf.cast(logits, tf.float32))
            return tf.add_n(tf.split(log_probabilities, len(_VIEWS))) / len(_VIEWS)

        return self._answer(tf.nest.map_structure(average, self._network(views)), valid)

    def _heatmap(self, image):
        """Shows which places of string[B] speak for the number that is read (Grad-CAM).

        Returns:
          ``heatmap`` float32[B, h, w], >= 0; zeros for what cannot be decoded.
        """
        images, valid = decode_images(image, self._height, self._width)
        heat = grad_cam(self._trunk(images), self._head, lambda outputs: self._decode(outputs)[1])
        return {"heatmap": tf.where(valid[:, tf.newaxis, tf.newaxis], heat, 0.0)}

    def _logits(self, pixels):
        """Returns what the network says of float32[B, H, W, 3] in [0, 1]: its outputs by name."""
        outputs = self._network(pixels)
        return outputs if isinstance(outputs, dict) else {"logits": outputs}

    def _answer(self, outputs, valid) -> dict[str, tf.Tensor]:
        digits, log_probability = self._decode(outputs)
        return {
            "number": tf.where(valid, join_digits(digits), ""),
            "probability": tf.where(valid, tf.exp(log_probability), 0.0),
        }

    def _views(self) -> tf.Tensor:
        """Returns the projective maps of the views, float32[V, 8]; see `augment.warp`."""
        middle_x, middle_y = (self._width - 1) / 2, (self._height - 1) / 2

        def row(width: float, height: float, right: float) -> list[float]:
            left = middle_x * (1 - width) + right * self._width
            return [width, 0, left, 0, height, middle_y * (1 - height), 0, 0]

        return tf.constant([row(*view) for view in _VIEWS], tf.float32)


def export_image_model(folder: Path, model: keras.Model, decode: Decoder) -> None:
    """Writes a SavedModel that needs TensorFlow and nothing else.

    Its signatures are ``serving_default``, ``several_views``, ``logits`` and, if the model has
    maps, ``heatmap``: see the methods of `NumberService`.

    Args:
      folder: replaced when the new model is complete.
      model: images to logits.
      decode: from the model's outputs to the number.

    Raises:
      UserError: the folder holds something else, or cannot be written.
    """
    service = NumberService(model, decode)
    signatures = {
        "serving_default": service.read,
        "several_views": service.read_several_views,
        "logits": service.logits,
    }
    if service.heatmap is not None:
        signatures["heatmap"] = service.heatmap
    write_saved_model(folder, service, signatures)


def load_image_model(folder: Path) -> "ServedImageModel":
    """Loads a SavedModel that :func:`export_image_model` wrote.

    Raises:
      UserError: there is none, or it is damaged or of another kind.
    """
    return open_saved_model(folder, "a reader of numbers", ServedImageModel)


class Reading(NamedTuple):
    """What a model read.

    Attributes:
      numbers: B numbers, "" where there is no image to read.
      probabilities: float32[B], of the whole numbers.
    """

    numbers: list[str]
    probabilities: np.ndarray


class ServedImageModel:
    """A loaded SavedModel, called through its signatures like any client would.

    Attributes:
      reads_numbers: whether it reads whole numbers, or one digit.
    """

    def __init__(self, folder: Path) -> None:
        """Loads the SavedModel."""
        self._loaded = tf.saved_model.load(str(folder))
        self._read = self._loaded.signatures["serving_default"]
        self._read_several_views = self._loaded.signatures["several_views"]
        outputs = self._loaded.signatures["logits"].structured_outputs
        # Of one digit they are float32[B, C]; CTC has them for each place.
        self.reads_numbers = "digits" in outputs or outputs["logits"].shape.rank == 3

    def __call__(self, images: Sequence[bytes], *, several_views: bool = False) -> Reading:
        """Reads images, contents of PNG or JPEG files."""
        if not images:  # oneDNN's convolutions fail on them
            return Reading([], np.zeros(0, np.float32))
        read = self._read_several_views if several_views else self._read
        answer = read(image=tf.constant(list(images), tf.string))
        numbers = [number.decode() for number in answer["number"].numpy()]
        return Reading(numbers, answer["probability"].numpy())

    def heatmaps(self, images: Sequence[bytes]) -> np.ndarray | None:
        """Returns where the model looks, float32[B, h, w] >= 0; None if it has no maps."""
        if "heatmap" not in self._loaded.signatures:
            return None
        show = self._loaded.signatures["heatmap"]
        return show(image=tf.constant(list(images), tf.string))["heatmap"].numpy()

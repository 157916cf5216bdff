"""An exported reader of numbers as LiteRT (TensorFlow Lite) files, for phones and small boards.

What is converted is the network alone, pixels to logits, one picture at a time: a device decodes
pictures with what it has, and reads the number from the logits in a few lines.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfcamp.decoding.numbers import decode_numbers
from tfcamp.decoding.single_digits import decode_single_digits
from tfcamp.errors import UserError
from tfcamp.export.folders import open_saved_model
from tfcamp.export.image_model import Decoder, Reading
from tfcamp.vision.digits import labels_to_numbers
from tfcamp.vision.images import decode_images


class ImageNetwork:
    """The network of a SavedModel that `tfcamp.export.image_model.export_image_model` wrote.

    Attributes:
      reads_numbers: whether it reads whole numbers, or one digit.
    """

    def __init__(self, folder: Path) -> None:
        """Loads the SavedModel.

        Raises:
          UserError: its network has no LiteRT form.
          KeyError: it has none.
        """
        self._loaded = tf.saved_model.load(str(folder))  # holds the variables
        logits = self._loaded.signatures["logits"]
        outputs = logits.structured_outputs
        self.reads_numbers = "digits" in outputs
        if not self.reads_numbers and outputs["logits"].shape.rank != 2:
            raise UserError(
                f"{folder} reads by CTC, and LiteRT cannot convert its recurrent layer: train with "
                "--model multihead"
            )
        pixels = logits.structured_input_signature[1]["pixels"]
        self._height, self._width = pixels.shape[1:3]
        # A batch whose size is not known keeps LiteRT from its fast kernels.
        one = tf.TensorSpec([1, *pixels.shape[1:]], pixels.dtype, name="pixels")
        network = tf.function(
            lambda pixels: logits(pixels=pixels), input_signature=[one], autograph=False
        )
        self._network = network.get_concrete_function()

    def to_float32(self) -> bytes:
        """Returns a LiteRT file that computes what the SavedModel computes."""
        return self._converter().convert()

    def to_int8(self, images: Sequence[bytes]) -> bytes:
        """Returns a LiteRT file that computes in 8 bits (Jacob et al., 2018).

        Each channel of a weight has a scale of its own; each layer's output has the scale of what
        was seen there. Pixels and logits stay float32, so that both files are used alike; so do two
        small steps of a reader of whole numbers that LiteRT's converter leaves alone: the adding of
        positions, and the sum of the maps that attention weighs.

        Args:
          images: contents of PNG or JPEG files, a hundred or so, that look like those to come.

        Raises:
          ValueError: there are none that can be decoded.
        """
        pixels, valid = decode_images(
            tf.constant(list(images), tf.string), self._height, self._width
        )
        seen = pixels.numpy()[valid.numpy()]
        if not len(seen):
            raise ValueError(f"to_int8 needs images to choose scales by, got {len(images)}")
        converter = self._converter()
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[np.newaxis]] for image in seen)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        return converter.convert()

    def _converter(self) -> tf.lite.TFLiteConverter:
        return tf.lite.TFLiteConverter.from_concrete_functions([self._network], self._loaded)


def load_image_network(folder: Path) -> ImageNetwork:
    """Loads the network of a SavedModel that `export_image_model` wrote.

    Raises:
      UserError: there is none, or it is damaged, of another kind, or has no LiteRT form.
    """
    return open_saved_model(folder, "a reader of numbers", ImageNetwork)


class LiteImageModel:
    """A LiteRT file at work, with the same pictures in and numbers out as a `ServedImageModel`."""

    def __init__(self, content: bytes, *, num_threads: int = 1) -> None:
        """Prepares the interpreter.

        Args:
          content: what `ImageNetwork` returned.
          num_threads: of the interpreter.

        Raises:
          ValueError: it is no LiteRT file.
        """
        with warnings.catch_warnings():
            # Its successor, ai-edge-litert, is for devices: in one process with TensorFlow, each of
            # its versions fits some versions of TensorFlow only. This one is TensorFlow's own.
            warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is deprecated")
            interpreter = tf.lite.Interpreter(model_content=content, num_threads=num_threads)
        self._run = interpreter.get_signature_runner()
        self._height, self._width = interpreter.get_input_details()[0]["shape"][1:3]
        outputs = self._run.get_output_details()
        self._decode: Decoder = decode_numbers if "digits" in outputs else _decode_digit

    def logits(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the network's outputs by name.

        Args:
          pixels: float32[B, H, W, 3] in [0, 1], B >= 1.
        """
        rows = [self._run(pixels=image[np.newaxis]) for image in pixels]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    def pixels(self, images: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Returns images as the network takes them, float32[B, H, W, 3], and which are valid."""
        pixels, valid = decode_images(
            tf.constant(list(images), tf.string), self._height, self._width
        )
        return pixels.numpy(), valid.numpy()

    def __call__(self, images: Sequence[bytes], *, several_views: bool = False) -> Reading:
        """Reads images, contents of PNG or JPEG files.

        Raises:
          ValueError: several views were asked for, which only a SavedModel has.
        """
        if several_views:
            raise ValueError("several_views must be False: a LiteRT file has one view")
        if not images:
            return Reading([], np.zeros(0, np.float32))
        pixels, valid = self.pixels(images)
        digits, log_probability = self._decode(self.logits(pixels))
        numbers = labels_to_numbers(digits.numpy())
        read = [number if ok else "" for number, ok in zip(numbers, valid, strict=True)]
        return Reading(read, np.where(valid, np.exp(log_probability), 0).astype(np.float32))


def _decode_digit(outputs: Mapping[str, Any]) -> tuple[tf.Tensor, tf.Tensor]:
    return decode_single_digits(outputs["logits"])

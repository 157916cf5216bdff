"""Readers of whole numbers: a trunk's maps, then length and digits, or a CTC transcription.

Each is a function ``NumberReaderConfig -> keras.Model``. The input ``image`` is
float[B, H, W, 3] in [0, 1]; the trunk of any classifier that has maps serves both.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
from keras import ops

from tfcamp.models.image_blocks import TrunkConfig
from tfcamp.models.positions import sinusoidal_positions
from tfcamp.models.trunks import build_trunk
from tfcamp.vision.digits import MAX_DIGITS

__all__ = ["BUILDERS", "NUM_DIGITS", "NumberReaderConfig", "build_number_reader"]

NUM_DIGITS = 10


@dataclass(frozen=True, kw_only=True)
class NumberReaderConfig(TrunkConfig):
    """What a number reader is built from; see `TrunkConfig` for the rest.

    Attributes:
      trunk: name of the classifier whose trunk it is.
      head_width: units of the layers between maps and logits.
      dropout: share dropped before each layer of the head.
      use_cudnn: whether ctc's LSTM may use cuDNN's kernels on a GPU. Those do not compile with XLA.
    """

    height: int = 48
    width: int = 96
    trunk: str = "resnet"
    head_width: int = 128
    dropout: float = 0.3
    use_cudnn: bool = True

    def __post_init__(self) -> None:
        """Raises ValueError where a model would fail late or silently."""
        super().__post_init__()
        if self.head_width < 1:
            raise ValueError(f"head_width must be at least 1, got {self.head_width}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")


def build_multihead(config: NumberReaderConfig) -> keras.Model:
    """Builds a reader of length and digits as separate outputs (Goodfellow et al., 2013, sec. 4).

    The paper flattens the maps into a dense layer and gives each digit a classifier of its own,
    which 200,000 photographs can train. Here each digit i has an attention over the places p of the
    maps f, and all share one classifier, so that every digit of the data teaches it:

        a_i = softmax_p(w_i . tanh(V (f_p + e_p)))        z_i = sum_p a_i,p f_p

    with a learned vector e_p for each place, which begins as the sinusoids of its row and its
    column: were they all alike, they would have to part before any digit could be found. The length
    is read from the mean and the maximum over the places.

    Returns:
      A model whose output is {"length": float32[B, 6], for the lengths 1 to 6, "digits":
      float32[B, 6, 10]}, both logits.
    """
    trunk = build_trunk(config.trunk, config)
    maps = trunk.output
    height, width, depth = maps.shape[1:]
    places = keras.layers.Reshape((height * width, depth), name="places")(maps)

    x = PlaceTable(height, width, name="positions")(places)
    x = keras.layers.Dense(config.head_width, activation="tanh", name="attention_hidden")(x)
    scores = keras.layers.Dense(MAX_DIGITS, dtype="float32", name="attention_scores")(x)
    attention = keras.layers.Softmax(axis=1, name="attention")(scores)
    # [B, p, 6] and [B, p, D] to [B, 6, D]
    digits = keras.layers.Dot(axes=1, name="digit_features")([attention, places])
    digits = _hidden(config, digits, "digits_hidden")
    digits = keras.layers.Dense(NUM_DIGITS, dtype="float32", name="digits")(digits)

    mean = keras.layers.GlobalAveragePooling2D(name="mean")(maps)
    maximum = keras.layers.GlobalMaxPooling2D(name="maximum")(maps)
    length = keras.layers.Concatenate(name="whole")([mean, maximum])
    length = _hidden(config, length, "length_hidden")
    length = keras.layers.Dense(MAX_DIGITS, dtype="float32", name="length")(length)
    return keras.Model(trunk.input, {"length": length, "digits": digits}, name="multihead")


def build_ctc(config: NumberReaderConfig) -> keras.Model:
    """Builds a convolutional recurrent reader (Shi et al., 2017, table 1), trained by CTC.

    Each column of the maps is one frame; a bidirectional LSTM reads them from both sides. The
    maps are a quarter as wide as the image, unless `max_width_stride` says otherwise.

    Returns:
      A model whose output is logits float32[B, T, 11], the blank last.

    Raises:
      ValueError: T is less than 13, which six digits with blanks around them take.
    """
    if config.max_width_stride is None:
        config = replace(config, max_width_stride=4)
    trunk = build_trunk(config.trunk, config)
    height, width, depth = trunk.output.shape[1:]
    if width < 2 * MAX_DIGITS + 1:
        raise ValueError(
            f"CTC needs {2 * MAX_DIGITS + 1} columns for {MAX_DIGITS} digits, got {width}: take a "
            "wider image"
        )
    x = keras.layers.Permute((2, 1, 3), name="columns")(trunk.output)
    x = keras.layers.Reshape((width, height * depth), name="frames")(x)
    x = _hidden(config, x, "frame_features")
    lstm = keras.layers.LSTM(
        config.head_width, return_sequences=True, use_cudnn="auto" if config.use_cudnn else False
    )
    x = keras.layers.Bidirectional(lstm, name="recurrent")(x)
    x = keras.layers.Dropout(config.dropout, name="dropout")(x)
    logits = keras.layers.Dense(NUM_DIGITS + 1, dtype="float32", name="logits")(x)
    return keras.Model(trunk.input, logits, name="ctc")


BUILDERS: dict[str, Callable[[NumberReaderConfig], keras.Model]] = {
    "multihead": build_multihead,
    "ctc": build_ctc,
}


def build_number_reader(reader: str, config: NumberReaderConfig) -> keras.Model:
    """Builds a number reader by name.

    Args:
      reader: a key of `BUILDERS`.
      config: sizes and choices.

    Returns:
      A functional model from ``image: float[B, H, W, 3]`` to what its builder says.

    Raises:
      ValueError: an unknown reader or trunk, or a trunk that does not fit.

    >>> build_number_reader("ctc", NumberReaderConfig(trunk="lenet5")).output.shape
    (None, 19, 11)
    """
    if reader not in BUILDERS:
        raise ValueError(f"reader must be one of {', '.join(BUILDERS)}, got {reader!r}")
    return BUILDERS[reader](config)


def _hidden(config: NumberReaderConfig, x: Any, name: str) -> Any:
    x = keras.layers.Dropout(config.dropout, name=f"{name}_dropout")(x)
    return keras.layers.Dense(
        config.head_width,
        activation=config.activation,
        kernel_initializer="he_normal",
        name=name,
    )(x)


@keras.saving.register_keras_serializable(package="tfcamp")
class PlaceTable(keras.layers.Layer):
    """Adds a learned vector to each place of maps that were flattened to float[B, H W, D]."""

    def __init__(self, height: int, width: int, **kwargs: Any):
        """Takes the sides of the maps, H and W."""
        super().__init__(**kwargs)
        self.height, self.width = height, width

    def build(self, input_shape: Any) -> None:
        """Makes the table float32[H W, D]: first half by the row, second half by the column."""
        self.table = self.add_weight(
            shape=input_shape[1:], initializer=self._sinusoids, name="table"
        )

    def _sinusoids(self, shape: Any, dtype: Any = None) -> Any:
        half = 2 * math.ceil(shape[-1] / 4)  # sines and cosines come in pairs
        rows = ops.repeat(sinusoidal_positions(ops.arange(self.height), half), self.width, axis=0)
        columns = ops.tile(sinusoidal_positions(ops.arange(self.width), half), (self.height, 1))
        return ops.cast(ops.concatenate([rows, columns], axis=-1)[:, : shape[-1]], dtype)

    def call(self, inputs: Any) -> Any:
        """Returns float[B, H W, D]."""
        return inputs + ops.cast(self.table, inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "height": self.height, "width": self.width}

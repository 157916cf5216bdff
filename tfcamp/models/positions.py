"""Positions: what tells a model that is blind to order where a token stands."""

from typing import Any

import keras
from keras import ops


def sinusoidal_positions(positions: Any, width: int) -> Any:
    """Returns the sinusoidal encodings of positions (Vaswani et al., 2017, sec. 3.5).

        PE[p, 2i] = sin(p / 10000^(2i / width))        PE[p, 2i+1] = cos(p / 10000^(2i / width))

    They need no training and no greatest length.

    Args:
      positions: int or float[T].
      width: size of an encoding; even.

    Returns:
      float32[T, width].

    Raises:
      ValueError: width is odd.

    >>> print(sinusoidal_positions([0, 1], 2).numpy().round(4))
    [[0.     1.    ]
     [0.8415 0.5403]]
    """
    if width % 2:
        raise ValueError(f"sinusoidal positions need an even width, got {width}")
    even = ops.arange(0, width, 2, dtype="float32")
    rates = ops.exp(even * (-ops.log(10000.0) / width))
    angles = ops.cast(positions, "float32")[:, None] * rates
    # Stacking behind each pair interleaves sines and cosines as in the paper.
    return ops.reshape(ops.stack([ops.sin(angles), ops.cos(angles)], axis=-1), (-1, width))


@keras.saving.register_keras_serializable(package="tfcamp")
class SinusoidalPositions(keras.layers.Layer):
    """Adds `sinusoidal_positions` to float[B, T, D], counting from 0."""

    def call(self, inputs: Any) -> Any:
        """Returns float[B, T, D]."""
        length, width = ops.shape(inputs)[1], inputs.shape[-1]
        # Angles of a hundred radians have no digits left in bfloat16: cast only the result.
        positions = sinusoidal_positions(ops.arange(length), width)
        return inputs + ops.cast(positions, inputs.dtype)

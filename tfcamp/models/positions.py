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
    """Adds `sinusoidal_positions` to float[B, T, D]."""

    def call(self, inputs: Any, first: Any = 0) -> Any:
        """Returns float[B, T, D]; ``first``, int32[], is the position of the first vector."""
        length, width = ops.shape(inputs)[1], inputs.shape[-1]
        # Angles of a hundred radians have no digits left in bfloat16: cast only the result.
        positions = sinusoidal_positions(ops.arange(length) + first, width)
        return inputs + ops.cast(positions, inputs.dtype)


@keras.saving.register_keras_serializable(package="tfcamp")
class LearnedPositions(keras.layers.Layer):
    """Adds a learned vector to each position of float[B, T, D] (Gehring et al., 2017, sec. 3.1)."""

    def __init__(self, max_length: int, **kwargs: Any):
        """Takes the number of positions that have a vector."""
        super().__init__(**kwargs)
        self.max_length = max_length

    def build(self, input_shape: Any) -> None:
        """Makes the table float32[max_length, D]."""
        self.table = self.add_weight(
            shape=(self.max_length, input_shape[-1]),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="table",
        )

    def call(self, inputs: Any, first: Any = 0) -> Any:
        """Returns float[B, T, D]; ``first``, int32[], is the position of the first vector.

        Raises:
          ValueError: T is larger than max_length. Where T is known when the model runs, and not
            before, the owner must see to it.
        """
        length = inputs.shape[1]
        if length is not None and length > self.max_length:
            raise ValueError(f"only {self.max_length} positions were learned, got {length}")
        # A slice that starts at a tensor has no static length, which XLA needs.
        positions = ops.arange(ops.shape(inputs)[1]) + first
        return inputs + ops.cast(ops.take(self.table, positions, axis=0), inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "max_length": self.max_length}

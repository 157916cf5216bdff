"""What every loss ends with: the sum over the rows, and the weight behind it."""

from typing import Any, NamedTuple

import tensorflow as tf


class WeightedSum(NamedTuple):
    """A sum of losses and the number of examples, or sum of their weights, behind it.

    ``weight`` is the sum of the *sample* weights. Class weights and focal factors scale ``total``
    only: were they in the divisor too, a batch of one class would not feel its class weight at
    all, and the mean would depend on how the rows fell into batches. This way sums of batches and
    replicas add up to the loss of the whole data set, whose gradient they estimate.

    Attributes:
      total: float32[], in nats.
      weight: float32[].
    """

    total: tf.Tensor
    weight: tf.Tensor

    def mean(self) -> tf.Tensor:
        """Returns total / weight, float32[]; 0 where nothing was weighed."""
        return tf.math.divide_no_nan(self.total, self.weight)


def weighted_sum(losses: tf.Tensor, weights: Any) -> WeightedSum:
    """Sums up losses float32[B, ...] with weights float[B, ...], or None for all ones.

    Raises:
      ValueError: the shapes do not fit.
    """
    if weights is None:
        return WeightedSum(tf.reduce_sum(losses), tf.cast(tf.size(losses), tf.float32))
    weights = tf.cast(tf.convert_to_tensor(weights), tf.float32)
    check_shapes("weights", weights.shape, losses.shape)
    # no_nan: what stands in a row of weight 0, an unknown label for example, cannot be felt.
    total = tf.reduce_sum(tf.math.multiply_no_nan(losses, weights))
    return WeightedSum(total, tf.reduce_sum(weights))


def check_shapes(name: str, shape: tf.TensorShape, expected: tf.TensorShape) -> None:
    """Raises ValueError where a static shape cannot be the expected one."""
    if not shape.is_compatible_with(expected):
        raise ValueError(f"{name} must have shape {expected}, got {shape}")

"""Where a model looks: class-activation maps by gradient, fit for an exported signature."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfcamp.models.trunks import trunk_of


def split_at_features(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Returns the trunk, from the image to maps, and the head, from maps to what the model gives.

    Raises:
      ValueError: the model has no layer "features".
    """
    trunk = trunk_of(model)
    return trunk, keras.Model(trunk.output, model.output, name="head")


def grad_cam(
    features: Any, head: Callable[[Any], Any], score: Callable[[Any], tf.Tensor]
) -> tf.Tensor:
    """Returns which places of the maps speak for a score (Selvaraju et al., 2017, eq. 1-2).

    With the maps A and the score y, the maps are summed up with the mean of their gradients, and
    what speaks against the score is left out:

        w_k = mean_ij dy / dA_ijk        heat_ij = max(0, sum_k w_k A_ijk)

    Args:
      features: maps float[B, h, w, D].
      head: from maps to the model's outputs.
      score: from the outputs to float[B], a row's score from the row's outputs alone: a logit, or
        the log-probability of a number.

    Returns:
      float32[B, h, w], >= 0, in units of the score; divide by its maximum to draw it.
    """
    features = tf.convert_to_tensor(features)
    # The tape sees the head only: nothing is computed backwards through the trunk.
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(features)
        total = tf.reduce_sum(score(head(features)))
    gradient = tf.cast(tape.gradient(total, features), tf.float32)
    weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
    return tf.nn.relu(tf.reduce_sum(weights * tf.cast(features, tf.float32), axis=-1))

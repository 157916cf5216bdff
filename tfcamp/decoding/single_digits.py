"""Single digits from a classifier, as numbers of one digit."""

from typing import Any

import tensorflow as tf


def decode_single_digits(logits: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the likeliest class of each row.

    Args:
      logits: float[B, C].

    Returns:
      digits int32[B, 1] and their log-probability float32[B].

    >>> digits, log_probability = decode_single_digits([[0.0, 2.0]])
    >>> digits.numpy(), log_probability.numpy().round(4)
    (array([[1]], dtype=int32), array([-0.1269], dtype=float32))
    """
    log_probabilities = tf.nn.log_softmax(tf.cast(logits, tf.float32))
    digits = tf.argmax(log_probabilities, axis=-1, output_type=tf.int32)
    return digits[:, tf.newaxis], tf.reduce_max(log_probabilities, axis=-1)

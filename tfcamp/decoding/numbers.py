"""House numbers from length and digits, jointly the most probable."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfcamp.vision.digits import NO_DIGIT


def decode_numbers(logits: Mapping[str, Any]) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the most probable number of each row (Goodfellow et al., 2013, sec. 4, appendix A).

    It is (n, d) with the greatest log p(n) + sum_(i < n) log p_i(d_i). The likeliest digits do not
    depend on the length, but the likeliest length alone may be the wrong one: digits of which the
    model is unsure count against a longer number.

    Args:
      logits: "length", float[B, N], for the lengths 1 to N, and "digits", float[B, N, C]; also
        log-probabilities, as from an average of several views.

    Returns:
      digits int32[B, N], `NO_DIGIT` beyond the length, and the log-probability float32[B] of the
      whole number.

    >>> length = [[0.0, 0.0]]
    >>> digits, log_probability = decode_numbers({"length": length, "digits": [[[0, 9], [1, 1]]]})
    >>> digits.numpy(), log_probability.numpy().round(2)
    (array([[ 1, -1]], dtype=int32), array([-0.69], dtype=float32))
    """
    length = tf.nn.log_softmax(tf.cast(logits["length"], tf.float32))
    digits = tf.nn.log_softmax(tf.cast(logits["digits"], tf.float32))
    log_probability = length + tf.cumsum(tf.reduce_max(digits, axis=-1), axis=-1)
    num_digits = 1 + tf.argmax(log_probability, axis=-1, output_type=tf.int32)
    likeliest = tf.argmax(digits, axis=-1, output_type=tf.int32)
    in_number = tf.sequence_mask(num_digits, tf.shape(likeliest)[1])
    return tf.where(in_number, likeliest, NO_DIGIT), tf.reduce_max(log_probability, axis=-1)

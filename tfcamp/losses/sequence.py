"""Losses of whole numbers: length and digits from separate outputs, or a CTC transcription.

Labels are int[B, N], the digits of a number from left to right and then `NO_DIGIT`. Both losses are
minus the log-probability of the whole number, so that what training lowers is what decoding ranks
by.
"""

import math
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfcamp.losses.classification import class_losses
from tfcamp.losses.weighted import WeightedSum, check_shapes, weighted_sum
from tfcamp.vision.digits import NO_DIGIT

# Stands for log 0. Sums of it stay finite, and so do gradients, which log 0 = -inf makes NaN.
_LOG_ZERO = -1e30


def number_loss(
    labels: Any,
    logits: Mapping[str, Any],
    *,
    label_smoothing: float = 0.0,
    gamma: float = 0.0,
    weights: Any = None,
) -> WeightedSum:
    """Returns the loss of numbers read as length and digits (Goodfellow et al., 2013, sec. 4).

    For a number of the length n and the digits d_0 ... d_(n-1)

        loss = - log p(n) - sum_(i < n) log p_i(d_i)

    so what an output says about a digit beyond the length does not matter.

    Args:
      labels: int[B, N] digits in [0, C), then `NO_DIGIT`. A row with no digit, with a gap, or with
        a digit outside the range makes the total NaN, unless its weight is 0.
      logits: "length", float[B, N], for the lengths 1 to N, and "digits", float[B, N, C]; computed
        in float32 whatever their dtype.
      label_smoothing: e in [0, 1) for length and digits, as in `cross_entropy`.
      gamma: focusing exponent >= 0 for length and digits, as in `focal_cross_entropy`.
      weights: float[B], 0 on padding, or None for all ones.

    Returns:
      WeightedSum(total, weight), both float32[]; total in nats; weight counts numbers, not digits.

    Raises:
      ValueError: an option is outside its range, or the shapes do not fit.

    >>> sure = {"length": [[0.0, 0.0]], "digits": [[[2.0, 0.0], [9.0, -9.0]]]}
    >>> print(f"{number_loss([[0, -1]], sure).mean():.4f} nats")  # log 2 + 0.1269
    0.8201 nats
    """
    labels = tf.convert_to_tensor(labels)
    length, is_digit = _lengths(labels)
    options = {"label_smoothing": label_smoothing, "gamma": gamma}
    length_loss = class_losses(length - 1, logits["length"], **options)
    digit_losses = tf.where(is_digit, class_losses(labels, logits["digits"], **options), 0.0)
    return weighted_sum(length_loss + tf.reduce_sum(digit_losses, axis=-1), weights)


def ctc_loss(labels: Any, logits: Any, *, weights: Any = None) -> WeightedSum:
    """Returns the loss of numbers read by CTC, connectionist temporal classification.

    That is minus `ctc_log_probability`, which see for the equations.

    Args:
      labels: int[B, N] digits in [0, C), then `NO_DIGIT`. A row with no digit at all is the empty
        number. One with a gap or with a digit outside the range makes the total NaN, one that T
        frames cannot spell makes it infinite, unless its weight is 0.
      logits: float[B, T, C + 1] with T known, blank last; computed in float32 whatever its dtype.
      weights: float[B], 0 on padding, or None for all ones.

    Returns:
      WeightedSum(total, weight), both float32[]; total in nats; weight counts numbers.

    Raises:
      ValueError: T is unknown, or the shapes do not fit.

    >>> print(f"{ctc_loss([[0]], [[[0.0, 0.0], [0.0, 0.0]]]).mean():.4f} nats")  # 3 of 4 paths
    0.2877 nats
    """
    return weighted_sum(-ctc_log_probability(labels, logits), weights)


def ctc_log_probability(labels: Any, logits: Any) -> tf.Tensor:
    """Returns the log-probability of each number under a CTC model (Graves et al., 2006, sec. 4.1).

    Each of T frames shows a digit or a blank; repeated symbols are merged, then blanks dropped.
    A number's probability is the sum over all such paths. They lead through the states

        blank d_0 blank d_1 ... d_(N-1) blank

    which a path may repeat, step forward by one, or, from a digit to a different digit, by two:
    with a_t(s) for all paths that are in state s after the frame t,

        a_t(s) = p_t(s) (a_(t-1)(s) + a_(t-1)(s-1) + [may skip] a_(t-1)(s-2))

    and the number ends in its last digit or in the blank after it. All of it in logarithms.

    Args:
      labels: int[B, N], as in `ctc_loss`.
      logits: float[B, T, C + 1], as in `ctc_loss`.

    Returns:
      float32[B], -inf for a number that T frames cannot spell, NaN for a malformed one.

    Raises:
      ValueError: T is unknown, or the shapes do not fit.
    """
    labels = tf.convert_to_tensor(labels)
    logits = tf.cast(tf.convert_to_tensor(logits), tf.float32)
    if labels.shape.rank != 2 or logits.shape.rank != 3 or not logits.shape[1]:
        raise ValueError(
            "CTC takes labels [B, N] and logits [B, T, C + 1] with T >= 1 known, got "
            f"{labels.shape} and {logits.shape}"
        )
    check_shapes("labels", labels.shape[:1], logits.shape[:1])
    blank = tf.shape(logits)[-1] - 1
    length, is_digit = _lengths(labels)
    is_known = (labels >= 0) & (labels < tf.cast(blank, labels.dtype))
    well_formed = (length >= 0) & tf.reduce_all(is_known | ~is_digit, axis=-1)

    # States [B, 2 N + 1]. Beyond the length they are blanks, from which no path comes back.
    in_range = is_digit & well_formed[:, None]
    digits = tf.where(in_range, tf.cast(labels, tf.int32), blank)
    blanks = tf.fill(tf.shape(digits), blank)
    states = tf.reshape(tf.stack([blanks, digits], axis=-1), [-1, 2 * labels.shape[1]])
    states = tf.concat([states, blanks[:, :1]], axis=-1)
    may_skip = (states != blank) & (states != _shift(states, 2, fill=blank))
    skip = tf.where(may_skip, 0.0, _LOG_ZERO)
    emissions = tf.gather(tf.nn.log_softmax(logits), states, axis=2, batch_dims=1)

    state = tf.range(2 * labels.shape[1] + 1)
    alpha = emissions[:, 0] + tf.where(state < 2, 0.0, _LOG_ZERO)

    def read_frame(alpha: tf.Tensor, emission: tf.Tensor) -> tf.Tensor:
        ways = [alpha, _shift(alpha, 1, _LOG_ZERO), _shift(alpha, 2, _LOG_ZERO) + skip]
        return emission + tf.reduce_logsumexp(tf.stack(ways), axis=0)

    # A loop, not T copies of it: XLA takes minutes to compile those and their gradient.
    if logits.shape[1] > 1:
        alpha = tf.foldl(read_frame, tf.transpose(emissions[:, 1:], [1, 0, 2]), alpha)

    last = 2 * tf.maximum(length, 0)[:, None]
    is_end = (state == last) | (state == last - 1)
    log_probability = tf.reduce_logsumexp(tf.where(is_end, alpha, _LOG_ZERO), axis=-1)
    log_probability = tf.where(log_probability > _LOG_ZERO / 2, log_probability, -math.inf)
    return tf.where(well_formed, log_probability, math.nan)


def _lengths(labels: Any) -> tuple[Any, Any]:
    """Returns the number of digits, int32[B], -1 where they have a gap, and where they stand."""
    is_digit: Any = labels != NO_DIGIT
    length = tf.reduce_sum(tf.cast(is_digit, tf.int32), axis=-1)
    ends = tf.reduce_sum(tf.cast(is_digit[:, 1:] & ~is_digit[:, :-1], tf.int32), axis=-1)
    return tf.where(ends == 0, length, -1), is_digit


def _shift(values: tf.Tensor, places: int, fill: Any) -> tf.Tensor:
    """Moves the last axis of [B, S] to the right, with ``fill`` at the left."""
    return tf.pad(values, [[0, 0], [places, 0]], constant_values=fill)[:, :-places]

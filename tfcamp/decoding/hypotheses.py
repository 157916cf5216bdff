"""What decoding finds, and the rules that greedy decoding and beam search share."""

import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfcamp.text.vocabulary import BEGIN_ID, END_ID, PADDING_ID, UNKNOWN_ID

# Stands for log 0: sums of it stay finite.
LOG_ZERO = -1e30


class Hypotheses(NamedTuple):
    """What a model wrote for each row of a batch, the best first.

    Where fewer than K hypotheses exist, a place that holds none is all padding, its log-probability
    and score are `LOG_ZERO`.

    Attributes:
      ids: int32[B, K, T], each ended by `END_ID` and then padded.
      log_probability: float32[B, K], sum of the model's log-probabilities of the tokens, the end
        included, in nats.
      score: float32[B, K], what `length_normalised` makes of it.
    """

    ids: Any
    log_probability: Any
    score: Any


def length_normalised(log_probability: Any, num_tokens: Any, length_penalty: float) -> tf.Tensor:
    """Returns log p / ((5 + n) / 6)^alpha, the score of Wu et al. (2016), eq. 14, uncovered.

    A longer text has more tokens to lose probability at; without a penalty the shorter one wins.

    Args:
      log_probability: float32[...] <= 0.
      num_tokens: int32[...], n; the end counts.
      length_penalty: alpha >= 0; 0 leaves the log-probability as it is.

    >>> length_normalised([-3.0], [7], 1.0).numpy()
    array([-1.5], dtype=float32)
    """
    return log_probability / ((5.0 + tf.cast(num_tokens, tf.float32)) / 6.0) ** length_penalty


def likeliest_tokens(
    logits: Any, num_tokens: int, must_end: Any, *, allow_unknown: bool = False
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the tokens by which each hypothesis may go on.

    Padding and the begin are never written. They keep their share of the probability: a score is
    the model's, whatever is forbidden here.

    Args:
      logits: float[N, V], V > `END_ID`.
      num_tokens: how many to return, C; fewer if V is less.
      must_end: bool[N], where only the end may follow.
      allow_unknown: whether `UNKNOWN_ID` may be written.

    Returns:
      ids int32[N, C] and log-probabilities float32[N, C], likeliest first; `LOG_ZERO` for a token
      that is forbidden or impossible.
    """
    logits = tf.cast(logits, tf.float32)
    forbidden = {PADDING_ID, BEGIN_ID} if allow_unknown else {PADDING_ID, BEGIN_ID, UNKNOWN_ID}
    # With as many more as are forbidden, to be taken out of a few tokens rather than out of all.
    values, ids = _largest(logits, num_tokens + len(forbidden))
    is_forbidden = tf.reduce_any(ids[..., None] == sorted(forbidden), axis=-1)
    values, places = tf.math.top_k(
        tf.where(is_forbidden, -np.inf, values), min(num_tokens, values.shape[-1])
    )
    ids = tf.gather(ids, places, batch_dims=1)

    total = tf.reduce_logsumexp(logits, axis=-1, keepdims=True)
    is_first = tf.range(values.shape[-1]) == 0
    end_alone = tf.where(is_first, logits[:, END_ID, None] - total, LOG_ZERO)
    must_end = must_end[:, None]
    log_probabilities = tf.where(must_end, end_alone, values - total)
    # So neither -inf nor the NaN of a model that breaks goes any further.
    log_probabilities = tf.where(log_probabilities > LOG_ZERO, log_probabilities, LOG_ZERO)
    return tf.where(must_end, END_ID, ids), log_probabilities


def _largest(values: Any, count: int) -> tuple[Any, Any]:
    """Returns what ``tf.math.top_k`` does, several times as fast where there are thousands.

    The k largest values are in those k chunks that have the largest maxima, and maxima are cheap.

    Args:
      values: float[N, V].
      count: k; V if that is less.
    """
    size: Any = values.shape[-1]
    width = max(width for width in range(1, math.isqrt(size) + 1) if size % width == 0)
    chunks = tf.reshape(values, [-1, size // width, width])
    _, best = tf.math.top_k(tf.reduce_max(chunks, axis=-1), min(count, size // width))
    candidates = tf.reshape(tf.gather(chunks, best, batch_dims=1), [-1, best.shape[-1] * width])
    largest, places = tf.math.top_k(candidates, min(count, size))
    return largest, tf.gather(best, places // width, batch_dims=1) * width + places % width


def is_live(log_probability: Any) -> Any:
    """Returns whether there is a hypothesis, or it may go on so."""
    return log_probability > LOG_ZERO / 2


def write_token(ids: Any, token: Any, position: Any) -> tf.Tensor:
    """Returns int32[..., T] with the tokens int32[...] written at a position."""
    return tf.where(tf.range(ids.shape[-1]) == position, token[..., None], ids)


def length_limits(
    source: Any, max_length: int, *, ratio: float = 1.5, margin: int = 10
) -> tf.Tensor:
    """Returns how many tokens each row may have: some more than its source, and no more than that.

    A model that does not find the end repeats itself up to its limit, and all rows of the batch
    wait for it.

    Args:
      source: int32[B, S], padded.
      max_length: the largest limit.
      ratio: tokens for each token of the source.
      margin: tokens for every row.

    Returns:
      int32[B].

    >>> length_limits([[7, 8, 9, 3], [7, 3, 0, 0]], 64).numpy()
    array([16, 13], dtype=int32)
    """
    num_tokens = tf.reduce_sum(tf.cast(tf.not_equal(source, PADDING_ID), tf.float32), axis=1)
    return tf.minimum(tf.cast(ratio * num_tokens, tf.int32) + margin, max_length)


def row_limits(source: Any, limits: Any | None, max_length: int) -> tf.Tensor:
    """Returns the largest number of tokens of each row, int32[B] in [1, max_length]."""
    limits = max_length if limits is None else tf.cast(limits, tf.int32)
    return tf.broadcast_to(tf.clip_by_value(limits, 1, max_length), tf.shape(source)[:1])


def check_lengths(max_length: int, length_penalty: float) -> None:
    """Refuses what no text can be written with.

    Raises:
      ValueError: no tokens, or a negative length penalty.
    """
    if max_length < 1:
        raise ValueError(f"max_length must be at least 1, got {max_length}")
    if length_penalty < 0:
        raise ValueError(f"length_penalty must be at least 0, got {length_penalty}")

"""House numbers from a CTC transcription: greedily, or by prefix beam search.

Both are core ops with static shapes, so they compile with XLA and live in a SavedModel, and both
return the *exact* log-probability of the number that they found, summed over all its alignments.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from tfcamp.losses import ctc_log_probability
from tfcamp.vision.digits import MAX_DIGITS, NO_DIGIT

# Stands for log 0: sums of it stay finite.
_LOG_ZERO = -1e30


def decode_greedily(logits: Any, *, max_digits: int = MAX_DIGITS) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the number on the most probable path (Graves et al., 2006, eq. 4).

    The likeliest symbol of each frame, repetitions merged and blanks dropped; digits beyond
    ``max_digits`` are left out.

    Args:
      logits: float[B, T, C + 1], blank last; T is static.
      max_digits: N.

    Returns:
      digits int32[B, N], then `NO_DIGIT`, and the log-probability float32[B] of the whole number.

    >>> frames = [[[9, 0, 0], [9, 0, 0], [0, 0, 9], [9, 0, 0], [0, 9, 0]]]  # 0 0 blank 0 1
    >>> decode_greedily(tf.constant(frames))[0].numpy()
    array([[ 0,  0,  1, -1, -1, -1]], dtype=int32)
    """
    path: Any = tf.argmax(logits, axis=-1, output_type=tf.int32)
    blank = tf.shape(logits)[-1] - 1
    before = tf.pad(path[:, :-1], [[0, 0], [1, 0]], constant_values=NO_DIGIT)
    shown = (path != blank) & (path != before)
    # Each digit moves to its place in the number: a stable sort would do, a sum over frames is
    # what every device does fast.
    place: Any = tf.cumsum(tf.cast(shown, tf.int32), axis=1) - 1
    moves = shown[:, None] & (place[:, None] == tf.range(max_digits)[:, None])
    digits = tf.reduce_sum(tf.where(moves, path[:, None] - NO_DIGIT, 0), axis=-1) + NO_DIGIT
    return digits, ctc_log_probability(digits, logits)


def decode_by_beam_search(
    logits: Any, *, beam_size: int = 8, max_digits: int = MAX_DIGITS
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the most probable number that prefix beam search finds (Hannun et al., 2014, alg. 1).

    The most probable path need not be the most probable number, which sums over many paths. The
    search goes through the frames with the likeliest prefixes. Of each it knows the probability
    that the frames so far spell it and end in a blank, b, and that they end in its last digit, l:

        stay:        b' = p(blank) (b + l)      l' = p(last digit) l
        add digit d: l' = p(d) (b + l), or p(d) b where d is the last digit

    What leads to the same prefix is added up, and the likeliest prefixes are kept. In the end those
    that are left are scored exactly, with the alignments that the search dropped.

    Args:
      logits: float[B, T, C + 1], blank last; T and C are static.
      beam_size: prefixes kept, K; 1 is still more than the greedy path.
      max_digits: N; no longer number is considered.

    Returns:
      digits int32[B, N], then `NO_DIGIT`, and the log-probability float32[B] of the whole number.

    Raises:
      ValueError: no beam, or numbers that do not fit into an int32.
    """
    digits, is_found, _ = search_prefixes(logits, beam_size=beam_size, max_digits=max_digits)
    # Scored exactly, all K of a row side by side.
    scores = ctc_log_probability(
        tf.reshape(digits, [-1, max_digits]), tf.repeat(logits, beam_size, axis=0)
    )
    scores = tf.where(is_found, tf.reshape(scores, [-1, beam_size]), _LOG_ZERO)
    best = tf.argmax(scores, axis=-1, output_type=tf.int32)
    return tf.gather(digits, best, batch_dims=1), tf.gather(scores, best, batch_dims=1)


def search_prefixes(
    logits: Any, *, beam_size: int, max_digits: int = MAX_DIGITS
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the numbers that prefix beam search ends with, as `decode_by_beam_search` says.

    Args:
      logits: float[B, T, C + 1], blank last; T and C are static.
      beam_size: K.
      max_digits: N.

    Returns:
      digits int32[B, K, N], whether there is a number at this place of the beam, bool[B, K], and
      log-probabilities float32[B, K] over the alignments that the search kept: exact if K is so
      large that it dropped none. Likeliest first.

    Raises:
      ValueError: no beam, or numbers that do not fit into an int32.
    """
    log_probabilities: Any = tf.nn.log_softmax(tf.cast(tf.convert_to_tensor(logits), tf.float32))
    base = log_probabilities.shape[-1]
    if beam_size < 1:
        raise ValueError(f"beam_size must be at least 1, got {beam_size}")
    if base**max_digits >= 2**31:
        raise ValueError(f"{max_digits=} of {base - 1} symbols do not fit into an int32")
    # One power more: a full prefix asks for it, to no effect.
    powers = tf.constant([base**i for i in range(max_digits)] + [0], tf.int32)
    frames = tf.transpose(log_probabilities, [1, 0, 2])
    # One step in a loop, not T of them: the graph stays small, and XLA compiles it in a second.
    beam = tf.foldl(
        lambda beam, frame: _read_frame(beam, frame, powers),
        frames,
        _empty_beam(tf.shape(log_probabilities)[0], beam_size),
    )
    digits = beam.code[..., None] // powers[:-1] % base - 1
    log_probability = _add(beam.in_blank, beam.in_digit)
    return digits, _is_live(log_probability), log_probability


class _Beam(NamedTuple):
    """The likeliest prefixes of each row, all [B, K].

    Attributes:
      code: int32, sum_i (d_i + 1) (C + 1)^i over the digits d: one integer for a prefix, so that
        equal ones are found by comparison.
      length: int32, its number of digits.
      last: int32, its last digit; `NO_DIGIT` if it is empty.
      in_blank: float32, log-probability that the frames spell it and end in a blank.
      in_digit: float32, log-probability that they spell it and end in its last digit.
    """

    code: Any
    length: Any
    last: Any
    in_blank: Any
    in_digit: Any


def _empty_beam(batch: Any, beam_size: int) -> _Beam:
    """Returns the beam before the first frame: the empty prefix, and places that hold nothing."""
    zeros = tf.zeros([batch, beam_size], tf.int32)
    return _Beam(
        code=zeros,
        length=zeros,
        last=tf.fill([batch, beam_size], NO_DIGIT),
        in_blank=tf.where(tf.range(beam_size) == 0, tf.zeros([batch, beam_size]), _LOG_ZERO),
        in_digit=tf.fill([batch, beam_size], _LOG_ZERO),
    )


def _read_frame(beam: _Beam, frame: Any, powers: Any) -> _Beam:
    """Returns the beam after one more frame, log-probabilities float32[B, C + 1], blank last."""
    beam_size, num_digits = beam.code.shape[1], frame.shape[-1] - 1
    blank_frame, digit_frame = frame[:, None, num_digits], frame[:, None, :num_digits]
    either = _add(beam.in_blank, beam.in_digit)
    is_last = tf.one_hot(beam.last, num_digits, on_value=True, off_value=False)
    stay_in_blank = either + blank_frame
    last_frame = tf.reduce_sum(tf.where(is_last, digit_frame, 0.0), axis=-1)
    stay_in_digit = beam.in_digit + last_frame

    # Every prefix with every digit, [B, K C].
    added = digit_frame + tf.where(is_last, beam.in_blank[..., None], either[..., None])
    is_full = beam.length == powers.shape[0] - 1
    added = _join_last_axes(tf.where(is_full[..., None], _LOG_ZERO, added))
    digits = tf.broadcast_to(tf.range(num_digits), tf.shape(is_last))
    code = beam.code[..., None] + (digits + 1) * tf.gather(powers, beam.length)[..., None]
    code = _join_last_axes(code)

    # What the beam holds already is added up there.
    same = (beam.code[..., None] == code[:, None]) & _is_live(either)[..., None]
    joining = tf.reduce_logsumexp(tf.where(same, added[:, None], _LOG_ZERO), axis=-1)
    stay_in_digit = _add(stay_in_digit, joining)
    added = tf.where(tf.reduce_any(same, axis=1), _LOG_ZERO, added)

    every = _Beam(
        code=tf.concat([beam.code, code], axis=-1),
        length=tf.concat([beam.length, tf.repeat(beam.length + 1, num_digits, axis=1)], axis=-1),
        last=tf.concat([beam.last, _join_last_axes(digits)], axis=-1),
        in_blank=tf.concat([stay_in_blank, tf.fill(tf.shape(added), _LOG_ZERO)], axis=-1),
        in_digit=tf.concat([stay_in_digit, added], axis=-1),
    )
    _, best = tf.math.top_k(_add(every.in_blank, every.in_digit), beam_size)
    return _Beam(*(tf.gather(values, best, batch_dims=1) for values in every))


def _join_last_axes(values: Any) -> Any:
    """Returns [B, K C] of [B, K, C]."""
    return tf.reshape(values, [-1, values.shape[1] * values.shape[2]])


def _is_live(log_probability: Any) -> Any:
    """Returns whether a place of the beam holds a prefix."""
    return log_probability > _LOG_ZERO / 2


def _add(first: Any, second: Any) -> Any:
    """Returns log(exp(first) + exp(second))."""
    return tf.reduce_logsumexp(tf.stack([first, second]), axis=0)

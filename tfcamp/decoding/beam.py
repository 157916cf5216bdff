"""Beam search: the best texts that keeping several beginnings finds."""

from typing import Any, NamedTuple

import tensorflow as tf

from tfcamp.decoding.hypotheses import (
    LOG_ZERO,
    Hypotheses,
    check_lengths,
    is_live,
    length_normalised,
    likeliest_tokens,
    row_limits,
    write_token,
)
from tfcamp.models.steps import Steps
from tfcamp.text.vocabulary import BEGIN_ID, END_ID, PADDING_ID


def decode_by_beam(
    steps: Steps,
    source: Any,
    *,
    beam_size: int,
    max_length: int,
    limits: Any | None = None,
    length_penalty: float = 1.0,
    num_best: int | None = None,
    allow_unknown: bool = False,
) -> Hypotheses:
    """Writes several texts at a time and returns the best (Sutskever et al., 2014, sec. 3.2).

    Of all ways in which the K beginnings may go on by one token, the K likeliest are kept. Those
    that end there leave the beam and are kept by their score, and the others go on. A search is
    over when no beginning that is left could pass the worst text kept, even if it lost no more
    probability up to its limit; so what the search returns does not depend on where it stops. A
    beam of one is greedy decoding.

    One loop of static shapes and core ops: it compiles with XLA and lives in a SavedModel. What a
    row says does not depend on the other rows of the batch.

    Args:
      steps: the model, as `tfcamp.models.steps.steps_of` gives it.
      source: int32[B, S].
      beam_size: K.
      max_length: T, the largest number of tokens, the end included.
      limits: int32[B], or int32[] for all rows, the largest number of tokens of each row, if that
        is less; the last one must be the end. None for `max_length`.
      length_penalty: alpha of `length_normalised`.
      num_best: how many texts to keep, at most K; None for K. The fewer, the sooner it is over.
      allow_unknown: whether `UNKNOWN_ID` may be written.

    Returns:
      Hypotheses[B, num_best, ...].

    Raises:
      ValueError: no beam, no tokens, no texts to keep or more than K, a negative length penalty.
    """
    num_best = beam_size if num_best is None else num_best
    if beam_size < 1:
        raise ValueError(f"beam_size must be at least 1, got {beam_size}")
    if not 1 <= num_best <= beam_size:
        raise ValueError(f"num_best must be in [1, {beam_size}], got {num_best}")
    check_lengths(max_length, length_penalty)
    source = tf.convert_to_tensor(source)
    limits = row_limits(source, limits, max_length)
    memory, cache = steps.begin(source, max_length)
    cache = tf.nest.map_structure(lambda rows: tf.repeat(rows, beam_size, axis=0), cache)

    def goes_on(beam: _Beam, cache: Any) -> Any:
        likeliest = tf.reduce_max(beam.log_probability, axis=1)
        within_reach = length_normalised(likeliest, limits, length_penalty)
        return tf.reduce_any(is_live(likeliest) & (within_reach > beam.ended.score[:, -1]))

    def write(beam: _Beam, cache: Any) -> tuple[_Beam, Any]:
        logits, cache = steps.next(tf.reshape(beam.last, [-1]), beam.position, memory, cache)
        num_tokens = beam.position + 1
        parent, token, log_probability = _likeliest_ways(
            beam.log_probability,
            *likeliest_tokens(
                logits,
                beam_size,
                tf.repeat(num_tokens >= limits, beam_size),
                allow_unknown=allow_unknown,
            ),
        )
        ids = write_token(tf.gather(beam.ids, parent, batch_dims=1), token, beam.position)
        ends = (token == END_ID) & is_live(log_probability)
        score = length_normalised(log_probability, num_tokens, length_penalty)
        ending = Hypotheses(
            ids, tf.where(ends, log_probability, LOG_ZERO), tf.where(ends, score, LOG_ZERO)
        )
        beam = _Beam(
            position=num_tokens,
            ids=ids,
            last=token,
            log_probability=tf.where(ends, LOG_ZERO, log_probability),
            ended=_best_of(beam.ended, ending),
        )
        return beam, _rows_of_parents(cache, parent)

    beam = _begin(limits, beam_size, num_best, max_length)
    beam, _ = tf.while_loop(goes_on, write, (beam, cache))
    return beam.ended


class _Beam(NamedTuple):
    """The beginnings of texts, and the texts.

    Attributes:
      position: int32[], where the next token will stand.
      ids: int32[B, K, T], the beginnings, padded.
      last: int32[B, K], their last tokens.
      log_probability: float32[B, K]; `LOG_ZERO` where there is none, also where one has ended.
      ended: the best texts so far.
    """

    position: Any
    ids: Any
    last: Any
    log_probability: Any
    ended: Hypotheses


def _begin(limits: Any, beam_size: int, num_best: int, max_length: int) -> _Beam:
    """Returns the beam before the first token: one empty beginning for each row."""
    zeros = tf.zeros_like(limits)[:, None] + tf.zeros([beam_size], tf.int32)
    nothing = tf.cast(zeros, tf.float32) + LOG_ZERO
    padding = tf.repeat(zeros[..., None] + PADDING_ID, max_length, axis=-1)
    return _Beam(
        position=tf.constant(0),
        ids=padding,
        last=zeros + BEGIN_ID,
        log_probability=tf.where(tf.range(beam_size) == 0, 0.0, nothing),
        ended=Hypotheses(padding[:, :num_best], nothing[:, :num_best], nothing[:, :num_best]),
    )


def _likeliest_ways(
    before: Any, tokens: Any, log_probabilities: Any
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the K likeliest ways to go on.

    Those are among the K likeliest tokens of each beginning.

    Args:
      before: float32[B, K], log-probabilities of the beginnings.
      tokens: int32[B K, C].
      log_probabilities: float32[B K, C].

    Returns:
      for each way the beginning, int32[B, K], the token, int32[B, K], and the log-probability,
      float32[B, K], `LOG_ZERO` where there are fewer than K ways.
    """
    beam_size, num_tokens = before.shape[1], tokens.shape[1]
    each = [-1, beam_size, num_tokens]
    total = before[..., None] + tf.reshape(log_probabilities, each)
    total = tf.where(is_live(total), total, LOG_ZERO)
    flat = [-1, beam_size * num_tokens]
    log_probability, way = tf.math.top_k(tf.reshape(total, flat), beam_size)
    return (
        way // num_tokens,
        tf.gather(tf.reshape(tokens, flat), way, batch_dims=1),
        log_probability,
    )


def _best_of(ended: Hypotheses, ending: Hypotheses) -> Hypotheses:
    """Returns the best of the texts kept so far, [B, H, ...], and of others, [B, K, ...]."""
    every = Hypotheses(*(tf.concat(pair, axis=1) for pair in zip(ended, ending, strict=True)))
    _, best = tf.math.top_k(every.score, ended.score.shape[1])
    return Hypotheses(*(tf.gather(values, best, batch_dims=1) for values in every))


def _rows_of_parents(cache: Any, parent: Any) -> Any:
    """Returns the cache, nests of [B K, ...], with each beginning's row where it went on."""
    beam_size = parent.shape[1]
    first = beam_size * tf.range(tf.shape(parent)[0])[:, None]
    rows = tf.reshape(first + parent, [-1])
    return tf.nest.map_structure(lambda values: tf.gather(values, rows), cache)

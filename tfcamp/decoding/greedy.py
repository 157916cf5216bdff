"""Greedy decoding: at each place the likeliest token."""

from typing import Any, NamedTuple

import tensorflow as tf

from tfcamp.decoding.hypotheses import (
    Hypotheses,
    check_lengths,
    length_normalised,
    likeliest_tokens,
    row_limits,
    write_token,
)
from tfcamp.models.steps import Steps
from tfcamp.text.vocabulary import BEGIN_ID, END_ID, PADDING_ID


def decode_greedily(
    steps: Steps,
    source: Any,
    *,
    max_length: int,
    limits: Any | None = None,
    length_penalty: float = 1.0,
    allow_unknown: bool = False,
) -> Hypotheses:
    """Writes the likeliest token at each place, until every row has ended.

    One loop of static shapes and core ops: it compiles with XLA and lives in a SavedModel. What a
    row says does not depend on the other rows of the batch.

    Args:
      steps: the model, as `tfcamp.models.steps.steps_of` gives it.
      source: int32[B, S].
      max_length: T, the largest number of tokens, the end included.
      limits: int32[B], or int32[] for all rows, the largest number of tokens of each row, if that
        is less; the last one must be the end. None for `max_length`.
      length_penalty: alpha of `length_normalised`; of the score only.
      allow_unknown: whether `UNKNOWN_ID` may be written.

    Returns:
      Hypotheses with K = 1.

    Raises:
      ValueError: no tokens, or a negative length penalty.
    """
    check_lengths(max_length, length_penalty)
    source = tf.convert_to_tensor(source)
    limits = row_limits(source, limits, max_length)
    memory, cache = steps.begin(source, max_length)

    def goes_on(text: _Text, cache: Any) -> Any:
        return tf.reduce_any(text.last != END_ID)

    def write(text: _Text, cache: Any) -> tuple[_Text, Any]:
        # A row that has ended is read on to no effect: the shapes are static.
        logits, cache = steps.next(text.last, text.position, memory, cache)
        must_end = text.position + 1 >= limits
        ids, log_probability = likeliest_tokens(logits, 1, must_end, allow_unknown=allow_unknown)
        ended = text.last == END_ID
        text = _Text(
            position=text.position + 1,
            ids=write_token(text.ids, tf.where(ended, PADDING_ID, ids[:, 0]), text.position),
            last=tf.where(ended, END_ID, ids[:, 0]),
            num_tokens=text.num_tokens + tf.cast(~ended, tf.int32),
            log_probability=text.log_probability + tf.where(ended, 0.0, log_probability[:, 0]),
        )
        return text, cache

    zeros = tf.zeros_like(limits)
    text = _Text(
        position=tf.constant(0),
        ids=tf.repeat(zeros[:, None], max_length, axis=1),
        last=zeros + BEGIN_ID,
        num_tokens=zeros,
        log_probability=tf.cast(zeros, tf.float32),
    )
    text, _ = tf.while_loop(goes_on, write, (text, cache))
    score = length_normalised(text.log_probability, text.num_tokens, length_penalty)
    return Hypotheses(text.ids[:, None], text.log_probability[:, None], score[:, None])


class _Text(NamedTuple):
    """What has been written of each row.

    Attributes:
      position: int32[], where the next token will stand.
      ids: int32[B, T], padded.
      last: int32[B], the token before it; `END_ID` for ever once the row has ended.
      num_tokens: int32[B].
      log_probability: float32[B].
    """

    position: Any
    ids: Any
    last: Any
    num_tokens: Any
    log_probability: Any

"""How a model writes one token after another: all that a decoder needs to know of a model."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf


class Steps(NamedTuple):
    """A model as a decoder sees it: read the source once, then write token by token.

    N = B * K hypotheses are written at the same time, K of them for each source row: row b of the
    memory serves the neighbours b * K ... b * K + K - 1. So a beam search repeats and reorders the
    rows of the cache only; what was read is neither copied nor moved.

    All shapes are static where those of the source are, so that a loop of steps compiles with XLA.

    Attributes:
      begin: ``begin(source, max_length) -> (memory, cache)``. The source is int32[B, S], max_length
        a Python int, the largest number of tokens that will be written. Both results are nests of
        tensors whose first axis is B. The memory is what was read; it never changes. The cache is
        what has been written so far.
      next: ``next(ids, position, memory, cache) -> (logits, cache)``. The ids, int32[N], are the
        tokens written at ``position - 1``; at position 0 they are `BEGIN_ID`. The position is
        int32[], less than max_length, and the same for all hypotheses. The first axis of the cache
        is N, that of the memory B, and N a multiple of B: for K > 1 the decoder repeats the rows of
        the cache once, before it starts. The logits of the tokens at ``position`` are
        float32[N, V].
    """

    begin: Callable[[tf.Tensor, int], tuple[Any, Any]]
    next: Callable[[tf.Tensor, tf.Tensor, Any, Any], tuple[tf.Tensor, Any]]


def by_source_row(states: tf.Tensor, source_mask: tf.Tensor) -> tf.Tensor:
    """Returns float[B, K, D] of float[N, 1, D]: hypotheses of one source row as if positions of it.

    So the K of them look at the row's memory in one product. The source mask, bool[B, S], tells B,
    which may be 0.
    """
    num_rows = tf.shape(source_mask)[0]
    num_hypotheses = tf.shape(states)[0] // tf.maximum(num_rows, 1)
    return tf.reshape(states, [num_rows, num_hypotheses, states.shape[-1]])


def steps_of(model: keras.Model) -> Steps:
    """Returns the steps of a translation model of any family.

    Args:
      model: built by `build_transformer` of `tfcamp.models.transformer`, or by `build_seq2seq`, or
        such a model saved and loaded.

    Returns:
      Its steps, which share its layers: they follow the weights wherever training takes them.

    Raises:
      ValueError: the model writes nothing.
    """
    # Here and not above: both import the type from this file.
    from tfcamp.models.seq2seq import seq2seq_steps
    from tfcamp.models.transformer import transformer_steps

    families = {"transformer": transformer_steps, "seq2seq": seq2seq_steps}
    # A text classifier may be called "transformer", too.
    inputs = model.input if isinstance(model.input, dict) else {}
    if model.name not in families or "target" not in inputs:
        raise ValueError(
            f"model must be a {' or '.join(families)} that writes a target, got {model.name!r} of "
            f"{list(inputs)}"
        )
    return families[model.name](model)

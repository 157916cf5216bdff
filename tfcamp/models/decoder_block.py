"""A Transformer decoder block, run over a whole text or one token after another."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from tfcamp.models.attention import MultiHeadAttention
from tfcamp.models.blocks import ByteDropout
from tfcamp.models.masking import ExplicitMaskLayer
from tfcamp.models.steps import by_source_row


@keras.saving.register_keras_serializable(package="tfcamp")
class DecoderBlock(ExplicitMaskLayer):
    """One Transformer decoder block (Vaswani et al., 2017, fig. 1, right).

    Three sublayers, attention to what was written so far, attention to what was read, and
    W_2 activation(W_1 x), each inside a residual branch like those of `encoder_block`. This one is
    a layer and no function, because its weights can be run in two ways: over all positions at once,
    or over one after another, with what is known of the earlier ones in a cache.
    """

    attends_to_source = True
    _PARTS = ("self_attention", "cross_attention", "feed_forward")

    def __init__(
        self,
        width: int,
        num_heads: int,
        inner_width: int,
        *,
        norm: str = "pre",
        activation: str = "relu",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        inner_dropout: float = 0.0,
        **kwargs: Any,
    ):
        """Takes what `encoder_block` takes."""
        super().__init__(**kwargs)
        self.width, self.num_heads, self.inner_width = width, num_heads, inner_width
        self.norm, self.activation, self.dropout = norm, activation, dropout
        self.attention_dropout, self.inner_dropout = attention_dropout, inner_dropout
        dtype = self.dtype_policy
        self.self_attention, self.cross_attention = (
            MultiHeadAttention(width, num_heads, attention_dropout, name=part, dtype=dtype)
            for part in self._PARTS[:2]
        )
        self.inner = keras.layers.Dense(inner_width, activation, name="inner", dtype=dtype)
        self.drop_inner = ByteDropout(inner_dropout, name="inner_dropout", dtype=dtype)
        self.outer = keras.layers.Dense(width, name="outer", dtype=dtype)
        self.norms = {
            part: keras.layers.LayerNormalization(epsilon=1e-6, name=f"{part}_norm", dtype=dtype)
            for part in self._PARTS
        }
        self.dropouts = {
            part: ByteDropout(dropout, name=f"{part}_dropout", dtype=dtype) for part in self._PARTS
        }

    def build(self, inputs_shape: Any, memory_shape: Any) -> None:
        """Creates the weights of all parts."""
        self.self_attention.build(inputs_shape, inputs_shape)
        self.cross_attention.build(inputs_shape, memory_shape)
        self.inner.build(inputs_shape)
        self.outer.build((*inputs_shape[:-1], self.inner_width))
        for norm in self.norms.values():
            norm.build(inputs_shape)

    def call(
        self,
        inputs: Any,
        memory: Any,
        target_mask: Any = None,
        source_mask: Any = None,
        training: bool = False,
    ) -> tuple[Any, Any]:
        """Runs over all positions at once.

        Args:
          inputs: float[B, T, D].
          memory: float[B, S, E], the encoder's output.
          target_mask: bool[B, T, T], True where position t may look at t'.
          source_mask: bool[B, S], True at real positions.
          training: whether anything is dropped.

        Returns:
          float[B, T, D], and where each head looked in the source, float32[B, heads, T, S].
        """
        x = inputs
        states = self._enter(x, "self_attention")
        attended = self.self_attention(states, states, mask=target_mask, training=training)
        x = self._leave(x, attended, "self_attention", training)
        states = self._enter(x, "cross_attention")
        attended, shares = self.cross_attention(
            states, memory, mask=source_mask, training=training, return_shares=True
        )
        x = self._leave(x, attended, "cross_attention", training)
        return self._feed_forward(x, training), shares

    def empty_cache(self, states: Any, max_length: int) -> tuple[Any, Any]:
        """Returns keys and values of no position, float[B, heads, max_length, d] each.

        Args:
          states: float[B, S, E], for the number of rows.
          max_length: L, the largest number of positions.
        """
        depth = self.width // self.num_heads
        shape = (ops.shape(states)[0], self.num_heads, max_length, depth)
        return ops.zeros(shape, self.compute_dtype), ops.zeros(shape, self.compute_dtype)

    def step(
        self, inputs: Any, position: Any, memory: Any, source_mask: Any, cache: Any
    ) -> tuple[Any, Any]:
        """Runs over one position; together the positions get what `call` gives them.

        Args:
          inputs: float[N, 1, D], N a multiple K of B.
          position: int32[], the number of positions in the cache.
          memory: keys and values, float[B, heads, S, d] each, of ``cross_attention.read``.
          source_mask: bool[B, S].
          cache: keys and values of the positions so far, float[N, heads, L, d] each.

        Returns:
          float[N, 1, D], and the cache with this position in it.
        """
        x = inputs
        states = self._enter(x, "self_attention")
        keys, values = (
            _write(before, now, position)
            for before, now in zip(cache, self.self_attention.read(states), strict=True)
        )
        written = (ops.arange(keys.shape[2]) <= position)[None, :]
        attended, _ = self.self_attention.attend(states, keys, values, written)
        x = self._leave(x, attended, "self_attention")
        queries = by_source_row(self._enter(x, "cross_attention"), source_mask)
        attended, _ = self.cross_attention.attend(queries, *memory, mask=source_mask)
        x = self._leave(x, ops.reshape(attended, (-1, 1, self.width)), "cross_attention")
        return self._feed_forward(x), (keys, values)

    def _enter(self, x: Any, part: str) -> Any:
        """Returns what a sublayer sees of x."""
        return self.norms[part](x) if self.norm == "pre" else x

    def _leave(self, x: Any, branch: Any, part: str, training: bool = False) -> Any:
        """Adds to x what the sublayer made of it."""
        x = x + self.dropouts[part](branch, training=training)
        return x if self.norm == "pre" else self.norms[part](x)

    def _feed_forward(self, x: Any, training: bool = False) -> Any:
        inner = self.inner(self._enter(x, "feed_forward"))
        outer = self.outer(self.drop_inner(inner, training=training))
        return self._leave(x, outer, "feed_forward", training)

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {
            **super().get_config(),
            "width": self.width,
            "num_heads": self.num_heads,
            "inner_width": self.inner_width,
            "norm": self.norm,
            "activation": self.activation,
            "dropout": self.dropout,
            "attention_dropout": self.attention_dropout,
            "inner_dropout": self.inner_dropout,
        }


def _write(cache: Any, now: Any, position: Any) -> Any:
    """Returns float[N, heads, L, d] that holds float[N, heads, 1, d] at a position.

    By a scatter, which copies the cache once; choosing between old and new by a mask takes twice as
    long (on 2 CPU cores). A strided slice would be written in place, but its place must be known
    when XLA compiles.
    """
    shape = ops.shape(cache)
    rows = tf.range(shape[0] * shape[1])
    places = tf.stack([rows, tf.zeros_like(rows) + position], axis=1)
    flat = ops.reshape(cache, (-1, *cache.shape[2:]))
    flat = tf.tensor_scatter_nd_update(flat, places, ops.reshape(now, (-1, cache.shape[3])))
    return ops.reshape(flat, shape)

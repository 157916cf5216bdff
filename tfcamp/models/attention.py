"""Attention layers: additive pooling, and several heads of scaled dot products."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from tfcamp.models.masking import ExplicitMaskLayer


def masked_softmax(scores: Any, mask: Any) -> Any:
    """Returns the softmax over the last axis, of the real positions only.

    Args:
      scores: float[..., T].
      mask: bool, broadcastable to the scores, True at real positions; or None. Where a whole row
        is False the result is uniform, never NaN.

    Returns:
      float32[..., T]; float32 because sums of many bfloat16 shares drift away from one.
    """
    scores = ops.cast(scores, "float32")
    if mask is not None:
        scores = ops.where(mask, scores, -1e9)
    # Not Keras's softmax, which warns of an axis of one: a text of one token is no mistake.
    return tf.nn.softmax(scores)


@keras.saving.register_keras_serializable(package="tfcamp")
class AdditiveAttentionPooling(ExplicitMaskLayer):
    """Pools a sequence by additive attention to a learned context vector v.

    Yang et al. (2016), eq. 5-7, after the score of Bahdanau et al. (2015):

        u_t = tanh(W h_t + b)        a = softmax_t(v . u_t)        s = sum_t a_t h_t
    """

    def __init__(self, width: int, **kwargs: Any):
        """Takes the width of u."""
        super().__init__(**kwargs)
        self.width = width
        self.hidden = keras.layers.Dense(
            width, activation="tanh", name="hidden", dtype=self.dtype_policy
        )
        self.context = keras.layers.Dense(
            1, use_bias=False, name="context", dtype=self.dtype_policy
        )

    def build(self, input_shape: Any) -> None:
        """Creates W, b and v."""
        self.hidden.build(input_shape)
        self.context.build((*input_shape[:-1], self.width))

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Returns float[B, D] of float[B, T, D] and bool[B, T], True at real positions."""
        scores = ops.squeeze(self.context(self.hidden(inputs)), axis=-1)
        shares = ops.cast(masked_softmax(scores, mask), inputs.dtype)
        return ops.squeeze(ops.matmul(shares[:, None, :], inputs), axis=1)

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable(package="tfcamp")
class MultiHeadAttention(ExplicitMaskLayer):
    """Scaled dot-product attention in several heads (Vaswani et al., 2017, eq. 1).

    head_i = softmax(Q_i K_i^T / sqrt(d)) V_i with d = width / num_heads; the heads are concatenated
    and projected once more.
    """

    def __init__(self, width: int, num_heads: int, dropout: float = 0.0, **kwargs: Any):
        """Takes the width of all heads together, their number, and the dropout of the shares.

        Raises:
          ValueError: width is no multiple of num_heads.
        """
        super().__init__(**kwargs)
        if width % num_heads:
            raise ValueError(f"width must be a multiple of num_heads, got {width} and {num_heads}")
        self.width, self.num_heads, self.dropout = width, num_heads, dropout
        dtype = self.dtype_policy
        self.query = keras.layers.Dense(width, name="query", dtype=dtype)
        # A bias of the keys shifts all scores of a query alike, which softmax cannot see: its
        # gradient is rounding noise that Adam would blow up to full steps.
        self.key = keras.layers.Dense(width, use_bias=False, name="key", dtype=dtype)
        self.value = keras.layers.Dense(width, name="value", dtype=dtype)
        self.output_projection = keras.layers.Dense(width, name="output", dtype=dtype)
        self.share_dropout = keras.layers.Dropout(dropout, name="dropout", dtype=dtype)

    def build(self, queries_shape: Any, values_shape: Any) -> None:
        """Creates the four projections."""
        self.query.build(queries_shape)
        self.key.build(values_shape)
        self.value.build(values_shape)
        self.output_projection.build((*queries_shape[:-1], self.width))

    def call(
        self,
        queries: Any,
        values: Any,
        mask: Any = None,
        training: bool = False,
        return_shares: bool = False,
    ) -> Any:
        """Lets each query look at the values.

        Args:
          queries: float[B, T, D].
          values: float[B, S, E].
          mask: bool[B, S], or bool[B, T, S] where it depends on the query; True where a query may
            look. None: everywhere.
          training: whether shares are dropped.
          return_shares: whether to return where each query looked, too.

        Returns:
          float[B, T, width]; with return_shares, also float32[B, heads, T, S], which sum to one
          over S: what they were before the dropout.
        """
        keys, values = self.read(values)
        attended, shares = self.attend(queries, keys, values, mask, training=training)
        return (attended, shares) if return_shares else attended

    def read(self, values: Any) -> tuple[Any, Any]:
        """Returns keys and values, float[B, heads, S, d] each, of float[B, S, E].

        With `attend`, this is `call` in two parts: what is read once can be looked at many times.
        """
        return self._split_heads(self.key(values)), self._split_heads(self.value(values))

    def attend(
        self, queries: Any, keys: Any, values: Any, mask: Any = None, *, training: bool = False
    ) -> tuple[Any, Any]:
        """Lets each query look at keys and values that `read` returned; see `call`.

        Returns:
          float[B, T, width] and float32[B, heads, T, S].
        """
        query = self._split_heads(self.query(queries))
        scores = tf.matmul(query, keys, transpose_b=True) / (self.width // self.num_heads) ** 0.5
        if mask is not None:
            mask = mask[:, None, None, :] if len(mask.shape) == 2 else mask[:, None, :, :]
        shares = masked_softmax(scores, mask)
        seen = self.share_dropout(ops.cast(shares, values.dtype), training=training)
        merged = ops.transpose(ops.matmul(seen, values), (0, 2, 1, 3))
        length = ops.shape(merged)[1]
        attended = self.output_projection(ops.reshape(merged, (-1, length, self.width)))
        return attended, shares

    def _split_heads(self, x: Any) -> Any:
        """Turns [B, T, width] into [B, heads, T, width / heads]."""
        length = ops.shape(x)[1]
        x = ops.reshape(x, (-1, length, self.num_heads, self.width // self.num_heads))
        return ops.transpose(x, (0, 2, 1, 3))

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {
            **super().get_config(),
            "width": self.width,
            "num_heads": self.num_heads,
            "dropout": self.dropout,
        }


def with_attention(model: keras.Model) -> keras.Model:
    """Returns a model that also says where a translation model looked in the source.

    Args:
      model: with layers that attend to a source: their class says ``attends_to_source = True``, and
        their second output is float32[B, heads, T, S].

    Returns:
      A functional model with the same inputs and the same layers, whose output is
      ``{"logits": ..., "attention": float32[B, layers, heads, T, S]}``; summed over S, attention
      is one. Row t is where the model looked for the token whose logits stand at t.

    Raises:
      ValueError: no layer attends to a source.
    """
    attention = [
        layer.output[1] for layer in model.layers if getattr(layer, "attends_to_source", False)
    ]
    if not attention:
        raise ValueError(f"no layer of model {model.name!r} attends to a source")
    outputs = {"logits": model.output, "attention": ops.stack(attention, axis=1)}
    return keras.Model(model.input, outputs, name=f"{model.name}_with_attention")

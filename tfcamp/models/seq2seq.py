"""The recurrent road to translation: an encoder, a decoder, and what lets one look at the other.

The model is functional and has the inputs and the output of a Transformer, see
`tfcamp.models.transformer`: ``{"source": int32[B, S], "target": int32[B, T]}`` to
``logits: float32[B, T, V]``. The decoder is told the true tokens before each position, whatever it
would have written itself (teacher forcing; Williams and Zipser, 1989).
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

import keras
import tensorflow as tf
from keras import ops

from tfcamp.models.attention import masked_softmax
from tfcamp.models.blocks import ByteDropout
from tfcamp.models.masking import ExplicitMaskLayer, PaddingMask
from tfcamp.models.steps import Steps, by_source_row
from tfcamp.models.token_embedding import TokenConfig, target_embeddings, token_embeddings

__all__ = ["Seq2SeqConfig", "build_seq2seq", "seq2seq_steps"]

_CELLS = {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}


@dataclass(frozen=True, kw_only=True)
class Seq2SeqConfig(TokenConfig):
    """What a recurrent encoder and decoder are built from; see `TokenConfig` for the rest.

    Attributes:
      num_layers: recurrent layers of the encoder, and of the decoder.
      cell: "gru" (Cho et al., 2014) or "lstm".
      bidirectional: whether the encoder reads in both directions, with half the width each, which
        then is even.
      attention: how the decoder looks at the source: "none", it sees the encoder's last states only
        (Sutskever et al., 2014); "additive", with the score of Bahdanau et al. (2015); "dot", with
        that of Luong et al. (2015). See `SourceAttention`.
      dropout: share dropped from the embeddings, from each recurrent layer's output, and before
        the logits.
      use_cudnn: whether cuDNN's kernels may be used on a GPU. Those do not compile with XLA.
    """

    num_layers: int = 1
    cell: Literal["gru", "lstm"] = "gru"
    bidirectional: bool = True
    attention: Literal["none", "additive", "dot"] = "additive"
    dropout: float = 0.1
    use_cudnn: bool = True

    def __post_init__(self) -> None:
        """Raises ValueError where a model would fail late or silently."""
        super().__post_init__()
        if self.num_layers < 1:
            raise ValueError(f"num_layers must be at least 1, got {self.num_layers}")
        if self.bidirectional and self.width % 2:
            raise ValueError(f"two directions need an even width, got {self.width}")
        if self.cell not in _CELLS:
            raise ValueError(f"cell must be 'gru' or 'lstm', got {self.cell!r}")
        if self.attention not in ("none", "additive", "dot"):
            raise ValueError(
                f"attention must be 'none', 'additive' or 'dot', got {self.attention!r}"
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")


@keras.saving.register_keras_serializable(package="tfcamp")
class SourceAttention(ExplicitMaskLayer):
    """Lets each state of a decoder look at the source (Luong et al., 2015, sec. 3.1, eq. 5-8).

    With the states h_t of the decoder and m_s of the encoder:

        a_t = softmax_s(score(h_t, m_s))    c_t = sum_s a_ts m_s    out_t = tanh(W [c_t; h_t])

        additive:  score = v . tanh(W_h h_t + W_m m_s + b)
        dot:       score = h_t . W_m m_s / sqrt(D)

    "additive" is the score of Bahdanau et al. (2015), but not their decoder. There h_(t-1) asks and
    c_t goes into the recurrence; here, as in Luong's, h_t asks, and what it sees goes to the logits
    only. So the recurrence runs over all positions in one call (of cuDNN, on a GPU), and so does
    the attention. "dot" is Luong's "general", divided by sqrt(D) as in Vaswani et al. (2017).
    """

    attends_to_source = True

    def __init__(self, width: int, score: str, **kwargs: Any):
        """Takes D and the score, "additive" or "dot"."""
        super().__init__(**kwargs)
        self.width, self.score = width, score
        dtype = self.dtype_policy
        self.key = keras.layers.Dense(width, use_bias=False, name="key", dtype=dtype)
        self.output_projection = keras.layers.Dense(
            width, activation="tanh", name="output", dtype=dtype
        )
        if score == "additive":
            self.query = keras.layers.Dense(width, name="query", dtype=dtype)
            self.scorer = keras.layers.Dense(1, use_bias=False, name="scorer", dtype=dtype)

    def build(self, queries_shape: Any, memory_shape: Any) -> None:
        """Creates the projections."""
        self.key.build(memory_shape)
        self.output_projection.build((*queries_shape[:-1], memory_shape[-1] + queries_shape[-1]))
        if self.score == "additive":
            self.query.build(queries_shape)
            self.scorer.build((*queries_shape[:-1], self.width))

    def call(self, queries: Any, memory: Any, mask: Any = None) -> tuple[Any, Any]:
        """Looks at the source with all states at once.

        Args:
          queries: float[B, T, D], the decoder's states.
          memory: float[B, S, D], the encoder's.
          mask: bool[B, S], True at real positions.

        Returns:
          float[B, T, D], and where each state looked, float32[B, 1, T, S], one "head".
        """
        return self.attend(queries, self.key(memory), memory, mask)

    def attend(self, queries: Any, keys: Any, memory: Any, mask: Any) -> tuple[Any, Any]:
        """Does what `call` does, with keys that ``key(memory)`` returned once."""
        if self.score == "additive":
            # [B, T, 1, D] and [B, 1, S, D]: the one large array of this model.
            hidden = ops.tanh(self.query(queries)[:, :, None] + keys[:, None])
            scores = ops.squeeze(self.scorer(hidden), axis=-1)
        else:
            scores = tf.matmul(queries, keys, transpose_b=True) / self.width**0.5
        shares = masked_softmax(scores, None if mask is None else mask[:, None])
        context = ops.matmul(ops.cast(shares, memory.dtype), memory)
        return self.output_projection(ops.concatenate([context, queries], -1)), shares[:, None]

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "width": self.width, "score": self.score}


def build_seq2seq(config: Seq2SeqConfig) -> keras.Model:
    """Builds a recurrent encoder and decoder (Sutskever et al., 2014), with attention or without.

    Each layer of the decoder starts from the last state of the encoder's layer beside it.

    Returns:
      A functional model, ``{"source": int32[B, S], "target": int32[B, T]}`` to logits,
      float32[B, T, V].

    >>> config = Seq2SeqConfig(source_vocabulary=90, target_vocabulary=80, width=8)
    >>> build_seq2seq(config).output.shape
    (None, None, 80)
    """
    read, write, score = token_embeddings(config)
    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")

    # Encoder
    source_mask = PaddingMask(name="source_mask")(source)
    x = ByteDropout(config.dropout, name="source_dropout")(read(source))
    last_states = []
    for i in range(config.num_layers):
        x, states = _read(config, x, source_mask, name=f"encoder_{i}")
        x = ByteDropout(config.dropout, name=f"encoder_{i}_dropout")(x)
        last_states.append(states)
    memory = keras.layers.Identity(name="memory")(x)

    # Decoder. No mask: what stands at padding is on the right, and nobody looks back from there.
    x = ByteDropout(config.dropout, name="target_dropout")(write(target))
    for i, states in enumerate(last_states):
        layer = _recurrent(config, config.width, name=f"decoder_{i}")
        x, *_ = layer(x, initial_state=states)
        x = ByteDropout(config.dropout, name=f"decoder_{i}_dropout")(x)
    if config.attention != "none":
        attention = SourceAttention(config.width, config.attention, name="attention")
        x, _ = attention(x, memory, mask=source_mask)
        x = ByteDropout(config.dropout, name="attention_dropout")(x)

    logits = score(x, reverse=True)
    return keras.Model({"source": source, "target": target}, logits, name="seq2seq")


def seq2seq_steps(model: keras.Model) -> Steps:
    """Returns how a recurrent model writes one token after another.

    The logits are those of the model, to rounding. The cache holds the states of the cells.

    Args:
      model: built by `build_seq2seq`, or saved and loaded.
    """
    write, score = target_embeddings(model)
    layers = {layer.name: layer for layer in model.layers}
    attention = layers.get("attention")
    num_layers = sum(re.fullmatch(r"decoder_\d+", name) is not None for name in layers)
    cells = [layers[f"decoder_{i}"].cell for i in range(num_layers)]
    num_states = len(tf.nest.flatten(cells[0].state_size))
    states = [
        [layers[f"encoder_{i}_state_{j}"].output for j in range(num_states)]
        for i in range(num_layers)
    ]
    memory = {"mask": layers["source_mask"].output}
    if attention is not None:
        memory["states"] = layers["memory"].output
    encoder = keras.Model(model.input["source"], [memory, states])

    def begin(source: tf.Tensor, max_length: int) -> tuple[Any, Any]:
        memory, cache = encoder(source, training=False)
        if attention is not None:
            memory["keys"] = attention.key(memory["states"])
        return memory, cache

    def next(ids: tf.Tensor, position: tf.Tensor, memory: Any, cache: Any) -> tuple[Any, Any]:
        x, new_cache = write(ids), []
        for cell, states in zip(cells, cache, strict=True):
            x, states = cell(x, states)
            new_cache.append(list(states))
        if attention is not None:
            queries = by_source_row(x[:, None], memory["mask"])
            x, _ = attention.attend(queries, memory["keys"], memory["states"], memory["mask"])
            x = tf.reshape(x, [-1, x.shape[-1]])
        return score(x, reverse=True), new_cache

    return Steps(begin, next)


def _recurrent(config: Seq2SeqConfig, width: int, **options: Any) -> keras.layers.Layer:
    """Makes a recurrent layer that returns all its outputs, and its last states."""
    return _CELLS[config.cell](
        width,
        return_sequences=True,
        return_state=True,
        use_cudnn="auto" if config.use_cudnn else False,
        **options,
    )


def _read(config: Seq2SeqConfig, x: Any, mask: Any, *, name: str) -> tuple[Any, list]:
    """Runs a layer of the encoder: float[B, S, D], and each of its last states, float[B, D]."""
    if not config.bidirectional:
        x, *states = _recurrent(config, config.width, name=name)(x, mask=mask)
        named = keras.layers.Identity
    else:
        layer = _recurrent(config, config.width // 2)
        x, *states = keras.layers.Bidirectional(layer, name=name)(x, mask=mask)
        # Forwards, then backwards; each of them has two where the cell is an LSTM.
        half = len(states) // 2
        states = list(zip(states[:half], states[half:], strict=True))
        named = keras.layers.Concatenate
    return x, [named(name=f"{name}_state_{j}")(state) for j, state in enumerate(states)]

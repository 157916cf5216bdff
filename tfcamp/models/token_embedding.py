"""Embeddings of a translation model: three tables, of which two or all may be one."""

from dataclasses import dataclass
from typing import Any, Literal

import keras
import tensorflow as tf
from keras import ops


@dataclass(frozen=True, kw_only=True)
class TokenConfig:
    """What the embeddings of a translation model are built from.

    Attributes:
      source_vocabulary: number of ids of the source, those of padding and ends included.
      target_vocabulary: number of ids of the target, V.
      width: width of the vectors, and of the whole model, D.
      tie_embeddings: which tables are one: "none"; "target": the decoder's embeddings are its
        output projection, too (Press and Wolf, 2017); "all": so are the encoder's, which takes one
        vocabulary for both languages.
    """

    source_vocabulary: int
    target_vocabulary: int
    width: int = 256
    tie_embeddings: Literal["none", "target", "all"] = "target"

    def __post_init__(self) -> None:
        """Raises ValueError where a model would fail late or silently."""
        if self.width < 1:
            raise ValueError(f"width must be at least 1, got {self.width}")
        if self.tie_embeddings not in ("none", "target", "all"):
            raise ValueError(
                f"tie_embeddings must be 'none', 'target' or 'all', got {self.tie_embeddings!r}"
            )
        # Padding, unknown, begin and end.
        sizes = (self.source_vocabulary, self.target_vocabulary)
        if min(sizes) < 4:
            raise ValueError(f"a vocabulary needs at least 4 ids, got {sizes}")
        if self.tie_embeddings == "all" and len(set(sizes)) > 1:
            raise ValueError(f"tie_embeddings='all' takes one vocabulary, got sizes {sizes}")


@keras.saving.register_keras_serializable(package="tfcamp")
class TokenEmbedding(keras.layers.Embedding):
    """A table of vectors that turns ids into vectors or, in reverse, vectors into logits.

    Vectors start with length one on average. They are multiplied by sqrt(D) when they are looked up
    (Vaswani et al., 2017, sec. 3.4), so that they weigh as much as the positions added to them, and
    not when they score, so that logits start around one.
    """

    def __init__(self, input_dim: int, output_dim: int, **kwargs: Any):
        """Takes the number of ids and the width of the vectors, D."""
        kwargs.setdefault(
            "embeddings_initializer", keras.initializers.RandomNormal(stddev=output_dim**-0.5)
        )
        super().__init__(input_dim, output_dim, **kwargs)

    def call(self, inputs: Any, reverse: bool = False) -> Any:
        """Returns float[B, T, D] of int32[B, T]; in reverse float32[B, T, V] of float[B, T, D].

        The product runs in the dtype of its input; only the result is cast, because a loss over
        thousands of classes needs more than the 8 bits of bfloat16.
        """
        if not reverse:
            return super().call(inputs) * self.output_dim**0.5
        table = ops.cast(self.embeddings, inputs.dtype)
        states = ops.reshape(inputs, (-1, self.output_dim))
        logits = ops.cast(tf.matmul(states, table, transpose_b=True), "float32")
        return ops.reshape(logits, (*ops.shape(inputs)[:-1], self.input_dim))

    def compute_output_spec(self, inputs: Any, reverse: bool = False) -> Any:
        """Returns the shape and dtype of what `call` returns."""
        if reverse:
            return keras.KerasTensor((*inputs.shape[:-1], self.input_dim), "float32")
        return super().compute_output_spec(inputs)


def token_embeddings(
    config: TokenConfig,
) -> tuple[TokenEmbedding, TokenEmbedding, TokenEmbedding]:
    """Returns the tables of the source, of the target and of the logits, tied as configured."""

    def table(name: str, size: int) -> TokenEmbedding:
        return TokenEmbedding(size, config.width, name=f"{name}_embedding")

    if config.tie_embeddings == "all":
        joint = table("joint", config.target_vocabulary)
        return joint, joint, joint
    source = table("source", config.source_vocabulary)
    target = table("target", config.target_vocabulary)
    if config.tie_embeddings == "target":
        return source, target, target
    return source, target, table("output", config.target_vocabulary)


def target_embeddings(model: keras.Model) -> tuple[TokenEmbedding, TokenEmbedding]:
    """Returns the tables of the target and of the logits of a model with `token_embeddings`."""
    tables = {
        layer.name.removesuffix("_embedding"): layer
        for layer in model.layers
        if isinstance(layer, TokenEmbedding)
    }
    target = tables.get("target") or tables["joint"]
    return target, tables.get("output", target)

"""What every text classifier begins with: its configuration, its inputs and their embeddings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras

from tfcamp.models.blocks import TokenDropout
from tfcamp.models.masking import PaddingMask
from tfcamp.models.ngrams import NGramBuckets
from tfcamp.text.vocabulary import UNKNOWN_ID


@dataclass(frozen=True)
class TextClassifierConfig:
    """What a text classifier is built from.

    Attributes:
      streams: vocabulary size of each input, by name; ids 0 (padding) and 1 (unknown) included.
      num_classes: number of classes, C.
      length: tokens a row, T, where it is fixed (as XLA and TPUs need it), or None.
      embedding_dim: width of each stream's embedding.
      width: units of each direction of an RNN; filters of each size of a CNN; width of a
        Transformer, a multiple of num_heads and even.
      num_layers: recurrent layers or Transformer blocks; None for 1 and 2.
      pooling: how bilstm, bigru and transformer turn T states into one: any of "last" (RNNs only),
        "mean", "max" and "attention", concatenated; None for max and mean, transformer: mean.
      ngrams: lengths of the hashed n-grams, in tokens, that are embedded beside the tokens of a
        stream, by stream. None for 2 and 3 of every stream with fasttext, 2 and 3 of a stream
        "char" with bilstm and bigru, none with the others.
      num_buckets: rows of the table of hashed n-grams.
      combine: "sum" adds up the embeddings at a position, which makes the recurrent layer narrower
        and faster; "concat" sets them side by side.
      dropout: share dropped before the classifier.
      layer_dropout: share dropped between recurrent layers and inside Transformer blocks.
      token_dropout: share of the ids, and of the n-grams, hidden in training.
      spatial_dropout: share of embedding channels dropped from a whole row (Tompson et al., 2015).
      train_embeddings: False freezes the embeddings of the streams as they start; meant for given
        vectors. The table of n-grams is always trained.
      kernel_sizes: filter lengths of textcnn, in tokens.
      num_heads: attention heads of transformer.
      use_cudnn: whether RNNs may use cuDNN's kernels on a GPU. Those do not compile with XLA: set
        it to False for ``jit_compile=True`` on a GPU. Nothing changes on a CPU.
    """

    streams: Mapping[str, int]
    num_classes: int
    length: int | None = None
    embedding_dim: int = 128
    width: int = 128
    num_layers: int | None = None
    pooling: Sequence[str] | None = None
    ngrams: Mapping[str, Sequence[int]] | None = None
    num_buckets: int = 100_000
    combine: Literal["sum", "concat"] = "sum"
    dropout: float = 0.5
    layer_dropout: float = 0.1
    token_dropout: float = 0.2
    spatial_dropout: float = 0.2
    train_embeddings: bool = True
    kernel_sizes: Sequence[int] = (2, 3, 4)
    num_heads: int = 4
    use_cudnn: bool = True

    def __post_init__(self):
        """Raises ValueError where a model would fail late or silently."""
        if not self.streams or min(self.streams.values()) < 2:
            raise ValueError(f"streams need names and sizes of 2 or more, got {self.streams}")
        for name in ("num_classes", "embedding_dim", "width", "num_heads", "num_buckets"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("length", "num_layers"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 or None, got {getattr(self, name)}")
        for stream, sizes in (self.ngrams or {}).items():
            if stream not in self.streams or min(sizes, default=1) < 1:
                raise ValueError(
                    f"ngrams must hold positive lengths for some of {list(self.streams)}, "
                    f"got {self.ngrams}"
                )
        if self.combine not in ("sum", "concat"):
            raise ValueError(f"combine must be 'sum' or 'concat', got {self.combine!r}")
        for name in ("dropout", "layer_dropout", "token_dropout", "spatial_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")


def text_inputs(config: TextClassifierConfig) -> dict[str, Any]:
    """Returns the model's inputs, int32[B, T], by stream."""
    return {
        stream: keras.Input((config.length,), dtype="int32", name=stream)
        for stream in config.streams
    }


def look_up(
    config: TextClassifierConfig, inputs: Mapping[str, Any], ngrams: Mapping[str, Sequence[int]]
) -> list[tuple[Any, Any]]:
    """Looks up the tokens of each stream, and the n-grams that start at each token.

    Args:
      config: sizes, token dropout, and whether the tokens' vectors are trained.
      inputs: int32[B, T] by stream.
      ngrams: lengths of the n-grams by stream.

    Returns:
      Vectors float[B, T, embedding_dim] with their masks bool[B, T]: first those of the streams,
      whose masks are all alike, then those of the n-grams.
    """
    looked_up = []
    for stream, ids in inputs.items():
        seen = TokenDropout(config.token_dropout, UNKNOWN_ID, name=f"{stream}_dropout")(ids)
        table = _table(config, stream, config.streams[stream], trainable=config.train_embeddings)
        looked_up.append((table(seen), PaddingMask(name=f"{stream}_mask")(ids)))
    if not any(ngrams.values()):
        return looked_up
    # From zero: many an n-gram is first met after training, and then adds nothing, not noise.
    table = _table(config, "ngram", config.num_buckets + 1, embeddings_initializer="zeros")
    for seed, (stream, ids) in enumerate(inputs.items()):
        for size in ngrams.get(stream, ()):
            name = f"{stream}_{size}grams"
            buckets = NGramBuckets(size, config.num_buckets, seed, name=name)(ids)
            # Bucket 0 is "no n-gram here".
            seen = TokenDropout(config.token_dropout, 0, name=f"{name}_dropout")(buckets)
            looked_up.append((table(seen), seen != 0))
    return looked_up


def embed(
    config: TextClassifierConfig,
    inputs: Mapping[str, Any],
    *,
    default_ngrams: Mapping[str, Sequence[int]] | None = None,
) -> tuple[Any, Any]:
    """Embeds each position: its tokens, and the n-grams that start there.

    Args:
      config: what to look up and how to combine it; its spatial dropout is applied.
      inputs: int32[B, T] by stream.
      default_ngrams: the builder's own choice, where the config makes none.

    Returns:
      float[B, T, D], and the mask bool[B, T] of the real positions.
    """
    ngrams = (default_ngrams or {}) if config.ngrams is None else config.ngrams
    looked_up = look_up(config, inputs, ngrams)
    x = [vectors for vectors, _ in looked_up]
    if len(x) > 1:
        merge = keras.layers.Add if config.combine == "sum" else keras.layers.Concatenate
        x = [merge(name="embeddings")(x)]
    x = keras.layers.SpatialDropout1D(config.spatial_dropout, name="spatial_dropout")(x[0])
    return x, looked_up[0][1]


def _table(config: TextClassifierConfig, name: str, size: int, **options: Any) -> Any:
    """Makes a lookup table; its gradient is row-sparse, so it must have no regulariser."""
    # float32: under a mixed policy Keras would cast the whole table in every step.
    return keras.layers.Embedding(
        size, config.embedding_dim, dtype="float32", name=f"{name}_embedding", **options
    )

"""The Transformer of Vaswani et al. (2017), for translation: from source and target to logits.

The model is functional, ``{"source": int32[B, S], "target": int32[B, T]}`` to
``logits: float32[B, T, V]``. A source row is ids and `END_ID`; a target row is what the decoder
reads, `BEGIN_ID` and ids, and its logits are those of the tokens that follow. Both are padded on
the right with id 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import keras
import tensorflow as tf

from tfcamp.models.blocks import ByteDropout, encoder_block
from tfcamp.models.decoder_block import DecoderBlock
from tfcamp.models.masking import CausalMask, PaddingMask
from tfcamp.models.positions import LearnedPositions, SinusoidalPositions
from tfcamp.models.steps import Steps
from tfcamp.models.token_embedding import TokenConfig, target_embeddings, token_embeddings

__all__ = ["SIZES", "TransformerConfig", "build_transformer", "transformer_steps"]

# "base" and "big" are those of Vaswani et al. (2017), table 3, which has dropout 0.1 and 0.3;
# "tiny" suits some 30,000 sentence pairs.
SIZES: Mapping[str, Mapping[str, Any]] = {
    "tiny": {
        "width": 128,
        "num_encoder_layers": 4,
        "num_decoder_layers": 4,
        "num_heads": 4,
        "inner_width": 256,
    },
    "small": {
        "width": 256,
        "num_encoder_layers": 3,
        "num_decoder_layers": 3,
        "num_heads": 4,
        "inner_width": 1024,
    },
    "base": {
        "width": 512,
        "num_encoder_layers": 6,
        "num_decoder_layers": 6,
        "num_heads": 8,
        "inner_width": 2048,
    },
    "big": {
        "width": 1024,
        "num_encoder_layers": 6,
        "num_decoder_layers": 6,
        "num_heads": 16,
        "inner_width": 4096,
    },
}


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(TokenConfig):
    """What a Transformer is built from; see `TokenConfig` for the rest.

    ``TransformerConfig(**SIZES["small"], ...)`` is one of a named size.

    Attributes:
      num_encoder_layers: blocks that read.
      num_decoder_layers: blocks that write.
      num_heads: attention heads of each block; their number divides the width.
      inner_width: width of the feed-forward layers inside the blocks.
      norm: where to normalise: "pre" inside the residual branches, "post" after the sums, as the
        paper does; that needs a warm-up.
      positions: "sinusoidal", which need no greatest length, or "learned".
      max_length: the largest number of tokens of a row, where positions are learned.
      activation: of the feed-forward layers.
      dropout: share dropped from embeddings with positions, and from each sublayer's output (sec.
        5.4 of the paper).
      attention_dropout: share dropped from the attention after its softmax.
      inner_dropout: share dropped inside the feed-forward layers.
    """

    num_encoder_layers: int = 3
    num_decoder_layers: int = 3
    num_heads: int = 4
    inner_width: int = 1024
    norm: Literal["pre", "post"] = "pre"
    positions: Literal["sinusoidal", "learned"] = "sinusoidal"
    max_length: int | None = None
    activation: str = "relu"
    dropout: float = 0.1
    attention_dropout: float = 0.0
    inner_dropout: float = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError where a model would fail late or silently."""
        super().__post_init__()
        for name in ("num_encoder_layers", "num_decoder_layers", "num_heads", "inner_width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.norm not in ("pre", "post"):
            raise ValueError(f"norm must be 'pre' or 'post', got {self.norm!r}")
        if self.positions not in ("sinusoidal", "learned"):
            raise ValueError(f"positions must be 'sinusoidal' or 'learned', got {self.positions!r}")
        if self.positions == "learned" and (self.max_length or 0) < 1:
            raise ValueError(f"learned positions need a max_length, got {self.max_length}")
        for name in ("dropout", "attention_dropout", "inner_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")


def build_transformer(config: TransformerConfig) -> keras.Model:
    """Builds a Transformer (Vaswani et al., 2017, fig. 1).

    Returns:
      A functional model, ``{"source": int32[B, S], "target": int32[B, T]}`` to logits,
      float32[B, T, V].

    Raises:
      ValueError: width is odd with sinusoidal positions, or no multiple of num_heads.

    >>> config = TransformerConfig(source_vocabulary=90, target_vocabulary=80, width=8)
    >>> build_transformer(config).output.shape
    (None, None, 80)
    """
    read, write, score = token_embeddings(config)
    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    block = {
        "num_heads": config.num_heads,
        "inner_width": config.inner_width,
        "norm": config.norm,
        "activation": config.activation,
        "dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "inner_dropout": config.inner_dropout,
    }

    # Encoder
    source_mask = PaddingMask(name="source_mask")(source)
    x = _positions(config, "source_positions")(read(source))
    x = ByteDropout(config.dropout, name="source_dropout")(x)
    for i in range(config.num_encoder_layers):
        x = encoder_block(x, source_mask, name=f"encoder_{i}", dropout_layer=ByteDropout, **block)
    memory = _final_norm(config, "memory")(x)

    # Decoder
    target_mask = CausalMask(name="causal_mask")(PaddingMask(name="target_mask")(target))
    x = _positions(config, "target_positions")(write(target))
    x = ByteDropout(config.dropout, name="target_dropout")(x)
    for i in range(config.num_decoder_layers):
        decoder_block = DecoderBlock(config.width, name=f"decoder_{i}", **block)
        x, _ = decoder_block(x, memory, target_mask=target_mask, source_mask=source_mask)
    x = _final_norm(config, "decoded")(x)

    logits = score(x, reverse=True)
    return keras.Model({"source": source, "target": target}, logits, name="transformer")


def transformer_steps(model: keras.Model) -> Steps:
    """Returns how a Transformer writes one token after another, with cached keys and values.

    The logits are those of the model, to rounding; a step costs what one position costs.

    Args:
      model: built by `build_transformer`, or saved and loaded.
    """
    blocks = [layer for layer in model.layers if isinstance(layer, DecoderBlock)]
    write, score = target_embeddings(model)
    positions, final_norm = model.get_layer("target_positions"), model.get_layer("decoded")
    encoder = keras.Model(
        model.input["source"],
        [model.get_layer(name).output for name in ("memory", "source_mask")],
    )

    def begin(source: tf.Tensor, max_length: int) -> tuple[Any, Any]:
        states, mask = encoder(source, training=False)
        memory = {
            "mask": mask,
            "keys_and_values": [block.cross_attention.read(states) for block in blocks],
        }
        return memory, [block.empty_cache(states, max_length) for block in blocks]

    def next(ids: tf.Tensor, position: tf.Tensor, memory: Any, cache: Any) -> tuple[Any, Any]:
        x = positions(write(ids[:, None]), first=position)
        grown = []
        for i, block in enumerate(blocks):
            x, rows = block.step(
                x, position, memory["keys_and_values"][i], memory["mask"], cache[i]
            )
            grown.append(rows)
        return score(final_norm(x), reverse=True)[:, 0], grown

    return Steps(begin, next)


def _positions(config: TransformerConfig, name: str) -> keras.layers.Layer:
    if config.positions == "learned":
        return LearnedPositions(config.max_length or 0, name=name)
    return SinusoidalPositions(name=name)


def _final_norm(config: TransformerConfig, name: str) -> keras.layers.Layer:
    """After the last block: with "post" its output is normalised already."""
    if config.norm == "pre":
        return keras.layers.LayerNormalization(epsilon=1e-6, name=name)
    return keras.layers.Identity(name=name)

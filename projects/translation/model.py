"""The translator that the options name, and what is measured of it after each epoch."""

import math
from collections.abc import Callable, Mapping, Sequence

from projects.translation.config import TranslationConfig
from projects.translation.data import TranslationData
from tfcamp.decoding.greedy import decode_greedily
from tfcamp.decoding.hypotheses import length_limits
from tfcamp.errors import UserError
from tfcamp.metrics.translation import corpus_bleu
from tfcamp.models.seq2seq import Seq2SeqConfig, build_seq2seq
from tfcamp.models.steps import steps_of
from tfcamp.models.transformer import SIZES, TransformerConfig, build_transformer

import keras
import numpy as np
import tensorflow as tf


def build_model(
    config: TranslationConfig,
    source_vocabulary: int,
    target_vocabulary: int,
    *,
    dropout: float,
    num_layers: int | None,
) -> keras.Model:
    """Builds the model that the options name; it returns logits.

    Args:
      config: the options.
      source_vocabulary: number of subwords of the source.
      target_vocabulary: number of subwords of the target.
      dropout: share dropped at every site.
      num_layers: layers of the encoder, and of the decoder; None for those of the size.

    Raises:
      UserError: the options do not fit each other.
    """
    common = {
        "source_vocabulary": source_vocabulary,
        "target_vocabulary": target_vocabulary,
        "tie_embeddings": config.tie_embeddings or ("all" if config.joint_vocabulary else "target"),
        "dropout": dropout,
    }
    sizes = dict(SIZES[config.size])
    changes = {
        "width": config.width,
        "num_encoder_layers": num_layers,
        "num_decoder_layers": num_layers,
        "num_heads": config.num_heads,
        "inner_width": config.inner_width,
    }
    sizes |= {name: value for name, value in changes.items() if value is not None}
    try:
        if config.model == "seq2seq":
            return build_seq2seq(
                Seq2SeqConfig(
                    **common,
                    cell=config.cell,
                    attention=config.attention,
                    width=sizes["width"],
                    num_layers=num_layers or 1,
                    use_cudnn=not config.jit_compile,  # cuDNN's cells do not compile with XLA
                )
            )
        return build_transformer(
            TransformerConfig(
                **common,
                **sizes,
                norm=config.norm,
                positions=config.positions,
                max_length=config.max_tokens,
            )
        )
    except ValueError as error:
        raise UserError(f"--model {config.model}: {error}") from error


def build_measure(model: keras.Model, max_tokens: int) -> Callable[[tuple], dict[str, tf.Tensor]]:
    """Returns what each replica makes of its part of a batch of the dev split.

    Returns:
      a function to the sums float32[B] of the losses in nats, the tokens and those foreseen rightly
      where the model is told all tokens before; and ids int32[B, max_tokens] of what it writes
      greedily by itself.
    """
    steps = steps_of(model)

    def measure(batch: tuple) -> dict[str, tf.Tensor]:
        inputs, labels, weights = batch
        logits = tf.cast(model(inputs, training=False), tf.float32)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        is_right = tf.cast(tf.argmax(logits, -1, output_type=tf.int32) == labels, tf.float32)
        source = inputs["source"]
        limits = length_limits(source, max_tokens)
        written = decode_greedily(steps, source, max_length=max_tokens, limits=limits)
        return {
            "loss": tf.reduce_sum(weights * losses, axis=1),
            "right": tf.reduce_sum(weights * is_right, axis=1),
            "tokens": tf.reduce_sum(weights, axis=1),
            "ids": written.ids[:, 0],
        }

    return measure


def score(
    references: Sequence[str], data: TranslationData, measured: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Returns the scores of what `build_measure` measured on the dev split."""
    num_tokens = measured["tokens"].sum()
    loss = float(measured["loss"].sum() / num_tokens)
    written = data.target_subwords.decode(measured["ids"]).numpy()
    hypotheses = [text.decode() for text in written]
    return {
        "loss": loss,
        "perplexity": math.exp(min(loss, 80.0)),  # TensorBoard's numbers end at e^88
        "token_accuracy": float(measured["right"].sum() / num_tokens),
        "bleu": corpus_bleu(hypotheses, references, language=data.dataset.target_language),
    }

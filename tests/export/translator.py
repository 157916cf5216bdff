"""A translator that says all sorts of things, as the training process has it."""

from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfcamp.decoding.beam import decode_by_beam
from tfcamp.decoding.greedy import decode_greedily
from tfcamp.decoding.hypotheses import Hypotheses, length_limits
from tfcamp.models.steps import steps_of
from tfcamp.text.sentences import encode_sentences
from tfcamp.text.subword import SubwordTokenizer
from tfcamp.text.vocabulary import END_ID, PADDING_ID

MAX_TOKENS = 16


class Translator(NamedTuple):
    """A model as the training process has it, and where it was exported to."""

    folder: Path
    source: SubwordTokenizer
    target: SubwordTokenizer
    model: keras.Model

    def search(self, sentences: list[str], beam_size: int, num_best: int = 1) -> Hypotheses:
        ids = encode_sentences(self.source, sentences, max_tokens=MAX_TOKENS).to_tensor(PADDING_ID)
        limits = {"max_length": MAX_TOKENS, "limits": length_limits(ids, MAX_TOKENS)}
        if beam_size == 1:
            return decode_greedily(steps_of(self.model), ids, **limits)
        return decode_by_beam(
            steps_of(self.model), ids, beam_size=beam_size, num_best=num_best, **limits
        )

    def texts(self, ids: Any) -> list[str]:
        return [text.decode() for text in self.target.decode(ids).numpy()]


def speak(model: keras.Model) -> None:
    """Gives a model weights that let it say all sorts of things, and come to an end."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        is_table = "embedding" in weight.path
        if is_table or len(weight.shape) > 1:
            scale = 0.9 if is_table else 3 * weight.shape[0] ** -0.5
            weight.assign(random.normal(scale=scale, size=weight.shape))
    table = model.get_layer("output_embedding").embeddings
    table.assign(tf.tensor_scatter_nd_update(table, [[END_ID]], [3 * table[END_ID]]))

"""Encoder and text classifier as one SavedModel signature of raw text."""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfcamp.export.folders import (
    open_saved_model,
    variables_of,
    without_cudnn,
    write_saved_model,
)
from tfcamp.export.half_precision import round_weight
from tfcamp.text.encoder import TextEncoder


class TextClassifierService(tf.Module):
    """Raw text in, class names and probabilities out."""

    def __init__(self, encoder: TextEncoder, model: keras.Model, classes: Sequence[str]) -> None:
        """Keeps the parts; model returns logits float32[B, C] over classes."""
        super().__init__(name="text_classifier")
        self._encoder = encoder
        self._weights = variables_of(without_cudnn(model))
        self._network = lambda ids: model(ids, training=False)
        self._classes = tf.constant(list(classes), tf.string)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def classify(self, text):
        """Classifies string[B].

        Returns:
          ``label`` string[B], ``probability`` float32[B] and ``probabilities`` float32[B, C].
        """
        logits = self._network(self._encoder(text))
        probabilities = tf.nn.softmax(tf.cast(logits, tf.float32))
        return {
            "label": tf.gather(self._classes, tf.argmax(probabilities, axis=-1)),
            "probability": tf.reduce_max(probabilities, axis=-1),
            "probabilities": probabilities,
        }

    @tf.function(input_signature=[])
    def classes(self):
        """Returns ``classes`` string[C], in the order of ``probabilities``."""
        return {"classes": tf.identity(self._classes)}


def export_text_classifier(
    folder: Path, encoder: TextEncoder, model: keras.Model, classes: Sequence[str]
) -> None:
    """Writes a SavedModel that needs TensorFlow and nothing else.

    Embeddings, which are nearly all of the model, are stored in half precision;
    :func:`round_embeddings` gives the training process the very same numbers.

    Args:
      folder: replaced when the new model is complete.
      encoder: raw text to ids.
      model: ids to logits.
      classes: names in the order of the logits.

    Raises:
      UserError: the folder holds something else, or cannot be written.
    """
    service = TextClassifierService(encoder, _with_half_embeddings(model), classes)
    signatures = {"serving_default": service.classify, "classes": service.classes}
    write_saved_model(folder, service, signatures)


def round_embeddings(model: keras.Model) -> None:
    """Rounds the embeddings of a model to what half precision can hold.

    Raises:
      Diverged: one is beyond half precision's largest number, 65,504.
    """
    for layer in _embeddings(model):
        round_weight(layer.embeddings)


def load_text_classifier(folder: Path) -> "ServedTextClassifier":
    """Loads a SavedModel that :func:`export_text_classifier` wrote.

    Raises:
      UserError: there is none, or it is damaged or of another kind.
    """
    return open_saved_model(folder, "a text classifier", ServedTextClassifier)


class ServedTextClassifier:
    """A loaded SavedModel, called through its signatures like any client would."""

    def __init__(self, folder: Path) -> None:
        """Loads the SavedModel."""
        self._loaded = tf.saved_model.load(str(folder))
        names = self._loaded.signatures["classes"]()["classes"].numpy()
        self.classes = tuple(name.decode() for name in names)

    def __call__(self, texts: Sequence[str | bytes]) -> np.ndarray:
        """Returns the probabilities float32[B, C] of texts."""
        answer = self._loaded.signatures["serving_default"](tf.constant(list(texts), tf.string))
        return answer["probabilities"].numpy()


def _embeddings(model: keras.Model) -> list[keras.layers.Embedding]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Embedding)]


def _with_half_embeddings(model: keras.Model) -> keras.Model:
    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if isinstance(layer, keras.layers.Embedding):
            config["dtype"] = "float16"  # the next layer casts the rows to its own type
        return type(layer).from_config(config)

    halved = keras.models.clone_model(model, clone_function=clone)
    halved.set_weights(model.get_weights())
    return halved

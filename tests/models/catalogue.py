"""Every builder of tfcamp.models with a tiny configuration; the conformance tests run over it.

A new family joins with one block of entries; `test_every_builder_is_in_the_catalogue` fails until
it does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfcamp.losses import WeightedSum, cross_entropy
from tfcamp.models import text_classifier
from tfcamp.models.text_classifier import TextClassifierConfig


@dataclass(frozen=True)
class Entry:
    """One builder, ready to be built, fed and trained.

    Attributes:
      builder: the public builder, to find out which of them have no entry.
      build: makes the tiny model, of static shape, with some dropout.
      inputs: a batch of four, as the model takes it.
      labels: what the four should become.
      loss: from labels and the model's outputs.
    """

    builder: Callable[..., keras.Model]
    build: Callable[[], keras.Model]
    inputs: Any
    labels: np.ndarray
    loss: Callable[[Any, Any], WeightedSum]


# Four texts of four lengths, one of them empty.
TEXTS = np.array([[2, 3, 4, 5, 6], [6, 5, 0, 0, 0], [7, 2, 3, 0, 0], [0, 0, 0, 0, 0]], np.int32)
TEXT_LABELS = np.array([0, 1, 2, 1], np.int32)


def tiny_text_config(*streams: str, **changes: Any) -> TextClassifierConfig:
    """A text classifier small enough to build and run in milliseconds."""
    options = {
        "streams": {stream: 12 for stream in streams or ("word",)},
        "num_classes": 3,
        "embedding_dim": 6,
        "width": 8,
        "dropout": 0.1,
        "token_dropout": 0.02,
        "spatial_dropout": 0.1,
        "num_buckets": 50,
        "num_heads": 2,
    }
    return TextClassifierConfig(**{**options, **changes})


def text_entries() -> Mapping[str, Entry]:
    """Every text classifier on words, and some on words and characters."""

    def entry(model: str, *streams: str, **changes: Any) -> Entry:
        config = tiny_text_config(*streams, length=TEXTS.shape[1], **changes)
        return Entry(
            builder=text_classifier.BUILDERS[model],
            build=lambda: text_classifier.build_text_classifier(model, config),
            inputs={stream: TEXTS for stream in streams},
            labels=TEXT_LABELS,
            loss=cross_entropy,
        )

    return {
        **{model: entry(model, "word") for model in text_classifier.BUILDERS},
        "fasttext of two streams": entry("fasttext", "word", "char"),
        "bilstm of two streams, two layers, every pooling": entry(
            "bilstm",
            "word",
            "char",
            num_layers=2,
            ngrams={"char": (2, 3)},
            pooling=("last", "mean", "max", "attention"),
        ),
    }


CATALOGUE: Mapping[str, Entry] = {**text_entries()}

# Public functions named build_... that build nothing of their own, with the reason.
DISPATCHERS = {
    text_classifier.build_text_classifier: "picks a builder by name",
}

"""Every builder of tfcamp.models with a tiny configuration; the conformance tests run over it.

A new family joins with one block of entries; `test_every_builder_is_in_the_catalogue` fails until
it does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfcamp.decoding.ctc import decode_greedily
from tfcamp.decoding.numbers import decode_numbers
from tfcamp.losses import WeightedSum, cross_entropy, ctc_loss, number_loss
from tfcamp.models import image_classifier, number_reader, seq2seq, text_classifier, trunks
from tfcamp.models import transformer as translation_transformer
from tfcamp.models.image_blocks import ImageClassifierConfig
from tfcamp.models.number_reader import NumberReaderConfig
from tfcamp.models.seq2seq import Seq2SeqConfig
from tfcamp.models.text_classifier import TextClassifierConfig
from tfcamp.models.transformer import TransformerConfig
from tfcamp.vision.digits import numbers_to_labels


def likeliest_class(logits: Any) -> np.ndarray:
    return np.argmax(logits, -1)


@dataclass(frozen=True)
class Entry:
    """One builder, ready to be built, fed and trained.

    Attributes:
      builder: the public builder, to find out which of them have no entry.
      build: makes the tiny model, of static shape, with some dropout.
      inputs: a batch of four, as the model takes it.
      labels: what the four should become.
      loss: from labels and the model's outputs.
      decode: from the model's outputs to what is compared with the labels.
      learning_rate: with which Adam learns the four.
      num_steps: in which it does.
      slow_to_train: whether the slow tier trains it, because compiling takes long.
    """

    builder: Callable[..., keras.Model]
    build: Callable[[], keras.Model]
    inputs: Any
    labels: np.ndarray
    loss: Callable[[Any, Any], WeightedSum]
    decode: Callable[[Any], Any] = likeliest_class
    learning_rate: float = 0.03
    num_steps: int = 100
    slow_to_train: bool = False


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


def images(height: int, width: int) -> np.ndarray:
    """Four images, float32[4, H, W, 3] in [0, 1]."""
    return np.random.default_rng(0).uniform(size=(4, height, width, 3)).astype(np.float32)


IMAGES = images(16, 16)
IMAGE_LABELS = np.array([0, 1, 2, 1], np.int32)


def tiny_image_config(**changes: Any) -> ImageClassifierConfig:
    """An image classifier small enough to build and run in milliseconds."""
    options = {
        "num_classes": 3,
        "height": IMAGES.shape[1],
        "width": IMAGES.shape[2],
        "width_multiplier": 0.25,
        "depth": 1,
        "dropout": 0.1,
        "drop_block": 0.1,
    }
    return ImageClassifierConfig(**{**options, **changes})


def image_entries() -> Mapping[str, Entry]:
    """Every image classifier, with each of the activations."""

    def entry(model: str, **changes: Any) -> Entry:
        config = tiny_image_config(**changes)
        return Entry(
            builder=image_classifier.BUILDERS[model],
            build=lambda: image_classifier.build_image_classifier(model, config),
            inputs=IMAGES,
            labels=IMAGE_LABELS,
            loss=cross_entropy,
            learning_rate=0.01,
            slow_to_train=model not in ("mlp", "lenet5", "alexnet"),
        )

    return {
        **{model: entry(model) for model in image_classifier.BUILDERS},
        # A quarter of its six channels is too little to tell images by.
        "lenet5": entry("lenet5", width_multiplier=1.0),
        "resnet with mish": entry("resnet", activation="mish"),
        "mobilenet that keeps the width, with swish": entry(
            "mobilenet", activation="swish", depth=2, max_width_stride=1
        ),
    }


NUMBERS = numbers_to_labels(["7", "12", "100", "654321"])


def tiny_reader_config(**changes: Any) -> NumberReaderConfig:
    """A number reader small enough to build and run in milliseconds."""
    options = {
        "trunk": "resnet",
        "height": 16,
        "width": 32,
        "max_width_stride": 2,
        "width_multiplier": 0.25,
        "depth": 1,
        "head_width": 32,
        "dropout": 0.1,
        "drop_block": 0.1,
    }
    return NumberReaderConfig(**{**options, **changes})


def reader_entries() -> Mapping[str, Entry]:
    """Both number readers, on a trunk each."""

    def entry(reader: str, loss: Any, decode: Any, **changes: Any) -> Entry:
        config = tiny_reader_config(**changes)
        return Entry(
            builder=number_reader.BUILDERS[reader],
            build=lambda: number_reader.build_number_reader(reader, config),
            inputs=images(config.height, config.width),
            labels=NUMBERS,
            loss=loss,
            decode=lambda outputs: decode(outputs)[0],
            learning_rate=0.005,
            num_steps=250 if reader == "ctc" else 100,
            slow_to_train=reader == "ctc",
        )

    return {
        "multihead": entry("multihead", number_loss, decode_numbers),
        "ctc": entry("ctc", ctc_loss, decode_greedily),
        "multihead on a network of keras.applications": entry(
            "multihead", number_loss, decode_numbers, trunk="mobilenet_v2", height=32, width=64
        ),
    }


# Four pairs of texts; each target begins with 2 and is followed by 3, and one source is empty.
SENTENCES = np.array([[4, 5, 6, 7, 3], [7, 6, 3, 0, 0], [5, 3, 0, 0, 0], [0] * 5], np.int32)
BEGUN = np.array([[2, 6, 5, 4], [2, 7, 0, 0], [2, 4, 5, 0], [2, 0, 0, 0]], np.int32)
FOLLOWING = np.array([[6, 5, 4, 3], [7, 3, 0, 0], [4, 5, 3, 0], [3, 0, 0, 0]], np.int32)


def token_loss(labels: Any, logits: Any, weights: Any = None) -> WeightedSum:
    """Padding is a token to foresee, too: this is about learning by heart."""
    if weights is not None:
        weights = np.ones(FOLLOWING.shape, np.float32) * weights[:, None]
    return cross_entropy(labels, logits, weights=weights)


def translation_entries() -> Mapping[str, Entry]:
    """The Transformer and the recurrent models, with each of their choices."""

    def entry(builder: Any, config: Any, *, slow_to_train: bool = True) -> Entry:
        return Entry(
            builder=builder,
            build=lambda: builder(config),
            inputs={"source": SENTENCES, "target": BEGUN},
            labels=FOLLOWING,
            loss=token_loss,
            learning_rate=0.01,
            num_steps=150,
            slow_to_train=slow_to_train,
        )

    def transformer(**changes: Any) -> Entry:
        options = {
            "source_vocabulary": 8,
            "target_vocabulary": 8,
            "width": 16,
            "num_encoder_layers": 1,
            "num_decoder_layers": 1,
            "num_heads": 2,
            "inner_width": 16,
        }
        config = TransformerConfig(**{**options, **changes})
        return entry(translation_transformer.build_transformer, config, slow_to_train=bool(changes))

    def recurrent(**changes: Any) -> Entry:
        options = {"source_vocabulary": 8, "target_vocabulary": 8, "width": 16}
        return entry(seq2seq.build_seq2seq, Seq2SeqConfig(**{**options, **changes}))

    return {
        "translation transformer": transformer(),
        "translation transformer, post-norm, one vocabulary": transformer(
            norm="post", tie_embeddings="all", attention_dropout=0.1, inner_dropout=0.1
        ),
        "translation transformer, learned positions, nothing tied": transformer(
            positions="learned", max_length=5, tie_embeddings="none", num_decoder_layers=2
        ),
        "seq2seq": recurrent(),
        "seq2seq with dot attention, two layers of lstm": recurrent(
            attention="dot", cell="lstm", num_layers=2, tie_embeddings="all"
        ),
        "seq2seq without attention, one direction": recurrent(
            attention="none", bidirectional=False, tie_embeddings="none"
        ),
    }


CATALOGUE: Mapping[str, Entry] = {
    **text_entries(),
    **image_entries(),
    **reader_entries(),
    **translation_entries(),
}

# Public functions named build_... that build nothing of their own, with the reason.
DISPATCHERS = {
    text_classifier.build_text_classifier: "picks a builder by name",
    image_classifier.build_image_classifier: "picks a builder by name",
    number_reader.build_number_reader: "picks a builder by name",
    trunks.build_trunk: "cuts the head off a classifier",
}

"""A model on one device, on several replicas or on several machines, and what it ends with."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tests.training.tiny import NUM_CLASSES, VOCABULARY, make_model
from tfcamp.data.pipeline import BatchStream
from tfcamp.losses import cross_entropy
from tfcamp.models.text_classifier import TextClassifierConfig, build_text_classifier
from tfcamp.training.checkpoints import CheckpointFolder
from tfcamp.training.optimizers import RowSparseAdam
from tfcamp.training.step import StepOptions
from tfcamp.training.trainer import Trainer

ONE = tf.distribute.get_strategy()
OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.5),
    "adam": lambda: keras.optimizers.Adam(0.01, epsilon=1e-5),
    "row_sparse_adam": lambda: RowSparseAdam(0.01, epsilon=1e-5, weight_decay=0.01),
}


def recurrent() -> keras.Model:
    """An LSTM of regularised weights."""
    return make_model(dropout=0.0, recurrent=True)


def transformer() -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_text_classifier(
        "transformer",
        TextClassifierConfig(
            {"word": VOCABULARY},
            NUM_CLASSES,
            embedding_dim=8,
            width=8,
            dropout=0.0,
            token_dropout=0.0,
            spatial_dropout=0.0,
            layer_dropout=0.0,
        ),
    )


def make_trainer(
    folder: Path,
    strategy: tf.distribute.Strategy,
    build: Callable[[], keras.Model] = lambda: make_model(dropout=0.0),
    optimizer: str = "sgd",
    loss=cross_entropy,
    options: StepOptions | None = None,
    average_decay: float = 0.0,
    writes: bool = True,
) -> Trainer:
    with strategy.scope():
        model, chosen = build(), OPTIMIZERS[optimizer]()
    return Trainer(
        model,
        chosen,
        loss,
        checkpoints=CheckpointFolder(folder, writes=writes),
        strategy=strategy,
        options=options or StepOptions(clip_norm=0.1),
        average_decay=average_decay,
        steps_per_call=4,
        save_seconds=1e9,
    )


def train(trainer: Trainer, stream: BatchStream, num_steps: int = 20) -> list[np.ndarray]:
    """Returns the weights after so many steps."""
    for _ in trainer.epochs(stream, 10, max_steps=num_steps):
        pass
    return trainer.model.get_weights()


def distance(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    """Returns the largest difference between any two weights."""
    return max(np.abs(one - other).max() for one, other in zip(ours, theirs, strict=True))


MODELS = {"recurrent": recurrent, "transformer": transformer}

"""A small task and a small model for the tests of the loop."""

from pathlib import Path

import keras
import numpy as np

from tests.data.packing import pack
from tfcamp.data.pipeline import BatchStream
from tfcamp.losses import cross_entropy
from tfcamp.training.checkpoints import CheckpointFolder
from tfcamp.training.optimizers import RowSparseAdam
from tfcamp.training.step import StepOptions
from tfcamp.training.trainer import Progress, Stateful, Trainer

VOCABULARY = 30
NUM_CLASSES = 3
STEPS_PER_EPOCH = 11


def make_stream(folder: Path, batch_size: int = 8, *, equal_lengths: bool = False) -> BatchStream:
    """80 rows of 1 to 8 tokens in two buckets, 11 batches of 8; the label is in the first token."""
    random = np.random.default_rng(0)
    lengths = np.full(80, 8) if equal_lengths else random.integers(1, 9, 80)
    rows = [random.integers(2, VOCABULARY, length).tolist() for length in lengths]
    examples = pack(folder, rows, [row[0] % NUM_CLASSES for row in rows])
    return BatchStream(examples, batch_size, seed=5, max_length=8, bucket_lengths=(4,))


def make_model(
    *,
    seed: int = 0,
    dropout: float = 0.3,
    recurrent: bool = False,
    extra: keras.layers.Layer | None = None,
) -> keras.Model:
    """Embedding, LSTM or mean, dropout, logits; ``extra`` stands before the dropout."""
    keras.utils.set_random_seed(seed)
    ids = keras.Input([None], dtype="int32", name="word")
    embedded = keras.layers.Embedding(VOCABULARY, 6, mask_zero=True)(ids)
    pool = keras.layers.LSTM(6) if recurrent else keras.layers.GlobalAveragePooling1D()
    features = pool(embedded)
    if extra is not None:
        features = extra(features)
    features = keras.layers.Dropout(dropout)(features)
    regularizer = keras.regularizers.L2(1e-3)
    logits = keras.layers.Dense(NUM_CLASSES, kernel_regularizer=regularizer)(features)
    return keras.Model({"word": ids}, logits)


def make_trainer(
    folder: Path,
    *,
    model: keras.Model | None = None,
    loss=cross_entropy,
    learning_rate: float = 0.01,
    steps_per_call: int | None = 4,
    save_seconds: float = 1e9,
    keep: int = 2,
    stateful: dict[str, Stateful] | None = None,
) -> Trainer:
    """A trainer with clipping and the row-sparse optimizer; it saves only when it is told to."""
    return Trainer(
        model or make_model(),
        RowSparseAdam(learning_rate),
        loss,
        checkpoints=CheckpointFolder(folder, keep=keep),
        options=StepOptions(clip_norm=1.0),
        steps_per_call=steps_per_call,
        save_seconds=save_seconds,
        stateful=stateful,
    )


def train(trainer: Trainer, stream: BatchStream, num_epochs: int = 2, **options) -> list[Progress]:
    """Trains to the end, with a checkpoint after each epoch, and returns what the epochs yield."""
    finished = []
    for progress in trainer.epochs(stream, num_epochs, **options):
        finished.append(progress)
        trainer.save()
    return finished

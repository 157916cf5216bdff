"""Batch normalisation under two replicas is that of one device."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.catalogue import tiny_reader_config
from tfcamp.data.packed_images import PackedImages
from tfcamp.data.pipeline import BatchStream
from tfcamp.losses import number_loss
from tfcamp.models.number_reader import build_number_reader
from tfcamp.training.checkpoints import CheckpointFolder
from tfcamp.training.step import StepOptions
from tfcamp.training.trainer import Trainer
from tfcamp.vision.digits import numbers_to_labels


def scale(inputs, labels, weights, seed):
    return tf.cast(inputs["image"], tf.float32) / 255.0, labels, weights


def test_batch_normalisation_over_two_replicas_is_that_of_one_device(tmp_path, two_replicas):
    random = np.random.default_rng(0)
    labels = numbers_to_labels(str(number) for number in random.integers(1, 2000, 22))
    # Dark and bright rows: each half of a batch has statistics of its own.
    images = random.uniform(size=(22, 16, 32, 3)) * random.uniform(size=(22, 1, 1, 1))
    boxes = np.tile([0.0, 0.0, 1.0, 1.0], (22, 1))
    packed = PackedImages.write(tmp_path / "rows", 16, 32, [(images, boxes, labels)])
    stream = BatchStream(packed, 8, 0, 1, static_shapes=True, only_full=True, transform=scale)

    def train(strategy, name):
        keras.utils.set_random_seed(0)
        with strategy.scope():
            config = tiny_reader_config(dropout=0.0, drop_block=0.0)
            model = build_number_reader("multihead", config)
            optimizer = keras.optimizers.SGD(0.01)
        trainer = Trainer(
            model,
            optimizer,
            number_loss,
            checkpoints=CheckpointFolder(tmp_path / name),
            strategy=strategy,
            options=StepOptions(clip_norm=5.0),
        )
        losses = [progress.loss for progress in trainer.epochs(stream, 3)]
        evaluation = BatchStream(packed, 8, None, 1, static_shapes=True, transform=scale)
        return losses, trainer.model.weights, trainer.predict(evaluation)

    losses, weights, logits = train(tf.distribute.get_strategy(), "one")
    other_losses, other_weights, other_logits = train(two_replicas, "two")
    assert losses == pytest.approx(other_losses, rel=1e-5)
    for ours, theirs in zip(weights, other_weights, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=2e-5, err_msg=ours.path)
    for name in logits:
        np.testing.assert_allclose(logits[name], other_logits[name], atol=2e-4)

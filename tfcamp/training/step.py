"""One step of training: the only place with a GradientTape."""

from collections.abc import Callable
from typing import Protocol

import keras
import tensorflow as tf

from tfcamp.losses import WeightedSum
from tfcamp.training.optimizers import sum_equal_rows


class Loss(Protocol):
    """A loss: ``loss(labels, logits, weights=weights)`` returns its sum and its weight."""

    def __call__(self, labels, logits, *, weights) -> WeightedSum:
        """Returns the loss of a batch, in nats, and the weight to divide it by."""
        ...


def build_train_step(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    loss: Loss,
    *,
    clip_norm: float | None = None,
) -> Callable[[tuple], WeightedSum]:
    """Builds the function that takes one step on one batch.

    Args:
      model: returns logits.
      optimizer: built on the model's trainable variables.
      loss: its sum is divided by its own weight, so rows of weight 0 change nothing. The model's
        regularisation losses are added to this mean.
      clip_norm: the largest global norm of the gradient (Pascanu et al., 2013); None for no limit.

    Returns:
      a function from (inputs, labels, weights) to the WeightedSum of the batch's loss.
    """

    def train_step(batch) -> WeightedSum:
        inputs, labels, weights = batch
        with tf.GradientTape() as tape:
            logits = model(inputs, training=True)
            batch_loss = loss(labels, logits, weights=weights)
            objective = batch_loss.mean()
            if model.losses:
                objective += tf.add_n(model.losses)
        variables = model.trainable_variables
        gradients = tape.gradient(objective, [variable.value for variable in variables])
        if clip_norm is not None:
            gradients = clip_by_global_norm(gradients, clip_norm)
        optimizer.apply(gradients, variables)
        return batch_loss

    return train_step


def clip_by_global_norm(gradients, clip_norm: float) -> list:
    """Scales gradients so that their global norm is at most ``clip_norm``, and keeps them sparse.

    Keras's own clipping makes a dense tensor of an embedding's gradient, and the norm of slices
    with repeated rows is not the norm of the gradient.
    """
    gradients = [
        sum_equal_rows(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient
        for gradient in gradients
    ]
    return tf.clip_by_global_norm(gradients, clip_norm)[0]

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
    adversarial_norm: float = 0.0,
) -> Callable[[tuple], WeightedSum]:
    """Builds the function that takes one step on one batch.

    Args:
      model: returns logits.
      optimizer: built on the model's trainable variables.
      loss: its sum is divided by its own weight, so rows of weight 0 change nothing. The model's
        regularisation losses are added to this mean.
      clip_norm: the largest global norm of the gradient (Pascanu et al., 2013); None for no limit.
      adversarial_norm: above 0, the step trains on the mean of the loss and of the loss after the
        embedding rows of the batch were moved uphill, along their gradient (Miyato et al., 2017,
        eq. 2): by this distance times the square root of the number of rows of the batch. It makes
        a step twice as long, and a small set of texts last for more epochs.

    Returns:
      a function from (inputs, labels, weights) to the WeightedSum of the batch's loss.

    Raises:
      ValueError: adversarial_norm with several replicas, whose tables would be moved apart.
    """
    if adversarial_norm and tf.distribute.get_strategy().num_replicas_in_sync > 1:
        raise ValueError("adversarial_norm works on one replica only")
    variables = model.trainable_variables
    values = [variable.value for variable in variables]

    def differentiate(batch) -> tuple[list, WeightedSum]:
        inputs, labels, weights = batch
        with tf.GradientTape() as tape:
            logits = model(inputs, training=True)
            batch_loss = loss(labels, logits, weights=weights)
            objective = batch_loss.mean()
            if model.losses:
                objective += tf.add_n(model.losses)
        return tape.gradient(objective, values), batch_loss

    def train_step(batch) -> WeightedSum:
        gradients, batch_loss = differentiate(batch)
        if adversarial_norm:
            distance = adversarial_norm * tf.sqrt(batch_loss.weight)
            with_rows_moved = _move_rows(values, gradients, distance)
            moved_gradients, _ = differentiate(batch)
            for table, rows in with_rows_moved:
                table.scatter_update(rows)
            gradients = [_mean(pair) for pair in zip(gradients, moved_gradients, strict=True)]
        if clip_norm is not None:
            gradients = clip_by_global_norm(gradients, clip_norm)
        optimizer.apply(gradients, variables)
        return batch_loss

    return train_step


def _move_rows(values, gradients, distance) -> list[tuple[tf.Variable, tf.IndexedSlices]]:
    """Moves the rows that have a sparse gradient uphill, by ``distance`` over all of them.

    Returns:
      each table with its rows as they were.
    """
    tables = [
        (table, sum_equal_rows(gradient))
        for table, gradient in zip(values, gradients, strict=True)
        if isinstance(gradient, tf.IndexedSlices)
    ]
    norm = tf.linalg.global_norm([rows for _, rows in tables])
    before = []
    for table, rows in tables:
        before.append((table, tf.IndexedSlices(tf.gather(table, rows.indices), rows.indices)))
        step = tf.math.divide_no_nan(distance, norm) * rows.values
        table.scatter_add(tf.IndexedSlices(step, rows.indices))
    return before


def _mean(pair):
    """Returns the mean of two gradients of the same variable, dense or sparse."""
    first, second = pair
    if not isinstance(first, tf.IndexedSlices):
        return (first + second) / 2
    return tf.IndexedSlices(
        tf.concat([first.values, second.values], 0) / 2,
        tf.concat([first.indices, second.indices], 0),
        first.dense_shape,
    )


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

"""One step of training: the only place with a GradientTape.

The order is what makes several replicas equal one device, and it is the same on one::

    each replica:   forward and backward on its rows, of the *sum* of the losses
    together:       add up gradients, losses and weights over the replicas
    everywhere:     divide by the weight of the whole batch, clip, apply

``tf.distribute`` has two views of this. In *replica context* the code is what one replica does,
with its own tensors; ``all_reduce`` adds them up over all replicas. *Across replicas* (what
``merge_call`` enters) the code is written once for all of them: a value stands for one tensor on
each, and a variable is updated on each.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import tensorflow as tf

from tfcamp.losses import WeightedSum
from tfcamp.training.averaging import WeightAverages
from tfcamp.training.loss_scale import DynamicLossScale
from tfcamp.training.optimizers import apply_gradients, check_optimizer, sum_equal_rows


class Loss(Protocol):
    """A loss: ``loss(labels, logits, weights=weights)`` returns its sum and its weight."""

    def __call__(self, labels, logits, *, weights) -> WeightedSum:
        """Returns the loss of a batch, in nats, and the weight to divide it by."""
        ...


@dataclass(frozen=True)
class StepOptions:
    """How a step is taken.

    Attributes:
      clip_norm: the largest global norm of the gradient (Pascanu et al., 2013); None for no limit.
      accumulate: forward and backward take the rows of a replica in so many parts, one after
        another, whose gradients are added up: the same step in less memory. The number of rows
        must be a multiple of it. (BatchNorm normalises each part by itself.)
      adversarial_norm: above 0, the step trains on the mean of the loss and of the loss after the
        embedding rows of the batch were moved uphill, along their gradient (Miyato et al., 2017,
        eq. 2): by this distance times the square root of the number of rows. It makes a step twice
        as long, and a small set of texts last for more epochs. One replica only.
      dense_gradients: an embedding's gradient becomes a whole table, as a TPU wants it.
      jit_compile: forward and backward are compiled by XLA; each shape of a batch anew.
    """

    clip_norm: float | None = None
    accumulate: int = 1
    adversarial_norm: float = 0.0
    dense_gradients: bool = False
    jit_compile: bool = False


def build_train_step(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    loss: Loss,
    options: StepOptions | None = None,
    *,
    loss_scale: DynamicLossScale | None = None,
    averages: WeightAverages | None = None,
) -> Callable[[tuple], WeightedSum]:
    """Builds the function that takes one step on one batch, in replica context.

    Args:
      model: returns logits.
      optimizer: built on the model's trainable variables.
      loss: its sum over all replicas is divided by its weight over all replicas, so rows of weight
        0 change nothing, and neither does the way in which rows are spread over replicas. The
        model's regularisation losses are added to this mean.
      options: see :class:`StepOptions`.
      loss_scale: for float16. A step whose gradient is not finite on any replica then changes no
        weight on all of them, and returns no loss; NaN once the scale cannot be lowered any more.
      averages: moved towards the weights after each step.

    Returns:
      a function from (inputs, labels, weights) to the WeightedSum of the whole batch's loss, the
      same on each replica.

    Raises:
      ValueError: adversarial_norm with several replicas, whose tables would be moved apart; an
        optimizer that does itself what is done here; or no gradient reaches a trainable variable.
    """
    options = options or StepOptions()
    if options.adversarial_norm and options.dense_gradients:
        raise ValueError("adversarial_norm moves the rows of sparse gradients: there are none")
    if options.adversarial_norm and tf.distribute.get_strategy().num_replicas_in_sync > 1:
        raise ValueError("adversarial_norm works on one replica only")
    check_optimizer(optimizer)
    variables = model.trainable_variables
    values = [variable.value for variable in variables]

    def differentiate(batch) -> tuple[list, WeightedSum]:
        inputs, labels, weights = batch
        with tf.GradientTape() as tape:
            logits = model(inputs, training=True)
            batch_loss = loss(labels, logits, weights=weights)
            objective = batch_loss.total
            if model.losses:
                # Times the weight, by which everything will be divided.
                objective += batch_loss.weight * tf.add_n(model.losses)
            if loss_scale is not None:
                objective *= loss_scale.value
        gradients = tape.gradient(objective, values)
        for gradient, variable in zip(gradients, variables, strict=True):
            if gradient is None:
                raise ValueError(f"no gradient reaches {variable.path}")
        if options.dense_gradients:
            gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        return gradients, batch_loss

    if options.jit_compile:
        differentiate = tf.function(differentiate, jit_compile=True)

    def differentiate_part(batch) -> tuple[list, WeightedSum]:
        gradients, batch_loss = differentiate(batch)
        if options.adversarial_norm:
            distance = options.adversarial_norm * tf.sqrt(batch_loss.weight)
            with_rows_moved = _move_rows(values, gradients, distance)
            moved_gradients, _ = differentiate(batch)
            for table, rows in with_rows_moved:
                table.scatter_update(rows)
            both = zip(gradients, moved_gradients, strict=True)
            gradients = [_scale(_add(*pair), 0.5) for pair in both]
        return gradients, batch_loss

    def update(strategy, finite, gradients) -> None:
        """Applies reduced gradients; across replicas, so that nobody adds them up once more."""

        def apply() -> None:
            apply_gradients(strategy, optimizer, gradients, variables)
            if averages is not None:
                averages.update(strategy, optimizer.iterations)

        if loss_scale is None:
            apply()
            return
        finite = strategy.experimental_local_results(finite)[0]
        tf.cond(finite, apply, lambda: None)
        loss_scale.update(finite)

    def train_step(batch) -> WeightedSum:
        parts = _split(batch, options.accumulate)
        gradients, batch_loss = differentiate_part(parts[0])
        for part in parts[1:]:
            # Side by side, the parts would need the memory that they are to save.
            with tf.control_dependencies(_tensors(gradients)):
                part = tf.nest.map_structure(tf.identity, part)
            more, part_loss = differentiate_part(part)
            gradients = [_add(*pair) for pair in zip(gradients, more, strict=True)]
            batch_loss = WeightedSum(*map(tf.add, batch_loss, part_loss))

        replica = tf.distribute.get_replica_context()
        total, weight, *gradients = replica.all_reduce(
            tf.distribute.ReduceOp.SUM, [*batch_loss, *gradients]
        )
        factor = tf.math.reciprocal_no_nan(weight)
        if loss_scale is not None:
            factor /= loss_scale.value
        gradients = [_sum_equal_rows(_scale(gradient, factor)) for gradient in gradients]
        # A sum is finite only if it was on each replica: all come to the same answer.
        finite = tf.constant(True) if loss_scale is None else _all_finite(gradients)
        if options.clip_norm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, options.clip_norm)
        if loss_scale is not None:
            # A step that is skipped has no loss; one that no smaller scale can help has no number.
            skipped = tf.where(loss_scale.at_its_least(), math.nan, 0.0)
            total = tf.where(finite, total, skipped)
            weight = tf.where(finite, weight, 0.0)
        replica.merge_call(update, args=(finite, gradients))
        return WeightedSum(total, weight)

    return train_step


def _split(batch: Any, num_parts: int) -> list:
    """Cuts each tensor of a batch into parts of as many rows, in order."""
    if num_parts == 1:
        return [batch]
    cut = [tf.split(tensor, num_parts) for tensor in tf.nest.flatten(batch)]
    return [tf.nest.pack_sequence_as(batch, part) for part in zip(*cut, strict=True)]


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


def _tensors(gradients: Sequence) -> list[tf.Tensor]:
    return tf.nest.flatten(gradients, expand_composites=True)


def _all_finite(gradients: Sequence) -> tf.Tensor:
    values = [g.values if isinstance(g, tf.IndexedSlices) else g for g in gradients]
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(value)) for value in values])


def _add(first, second):
    """Adds up two gradients of the same variable, dense or sparse."""
    if not isinstance(first, tf.IndexedSlices):
        return first + second
    return tf.IndexedSlices(
        tf.concat([first.values, second.values], 0),
        tf.concat([first.indices, second.indices], 0),
        first.dense_shape,
    )


def _sum_equal_rows(gradient):
    """Lets each row of a sparse gradient stand once: norms and optimizers square what they get."""
    return sum_equal_rows(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient


def _scale(gradient, factor):
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient * factor
    return tf.IndexedSlices(gradient.values * factor, gradient.indices, gradient.dense_shape)

"""The part of the loop that is compiled: many steps in one call, on one device or on many."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfcamp.losses import WeightedSum


class Call(NamedTuple):
    """What one call returns.

    Attributes:
      loss: the sum over its batches.
      taken: int32[], steps.
      waited: float64[], seconds during which this worker waited for data.
      learning_rate: float32[], of the next step.
      reports: float32[2], what the workers reported, added up over the replicas.
    """

    loss: WeightedSum
    taken: tf.Tensor
    waited: tf.Tensor
    learning_rate: tf.Tensor
    reports: tf.Tensor


class InnerLoop:
    """Steps and predictions as compiled functions of an iterator over distributed batches.

    Batches are taken inside the graph, where their length is unknown: given as an argument, each
    new length would trace the model anew.
    """

    def __init__(
        self,
        model: keras.Model,
        train_step: Callable[[tuple], WeightedSum],
        optimizer: keras.optimizers.Optimizer,
        strategy: tf.distribute.Strategy,
    ) -> None:
        """Keeps the parts; nothing is traced before the first call.

        Args:
          model: made under the strategy's scope.
          train_step: of :func:`tfcamp.training.step.build_train_step`.
          optimizer: only to tell its learning rate.
          strategy: where the functions run.
        """
        self._model = model
        self._train_step = train_step
        self._optimizer = optimizer
        self._strategy = strategy
        self._compiled_steps = tf.function(self._take_steps)
        self._compiled_predictions: dict[Any, Callable[[Any], Any]] = {}

    @property
    def num_traces(self) -> int:
        """How often the steps were traced; more than once means that something varies."""
        return self._compiled_steps.experimental_get_tracing_count()

    def take_steps(self, batches: Any, num_steps: int, report: tuple[float, float]) -> Call:
        """Takes steps until ``num_steps``, or until a loss is not finite.

        Args:
          batches: an iterator over distributed batches.
          num_steps: the same on all workers.
          report: what this worker has to say to all of them.
        """
        # Python numbers would trace the function anew for each value.
        return self._compiled_steps(batches, tf.constant(num_steps), tf.constant(report))

    def predict_next(self, batches: Any, predict: Callable[[tuple], Any] | None = None) -> Any:
        """Returns what is predicted of the next batch's real rows, of all replicas on every worker.

        Args:
          batches: an iterator over distributed batches.
          predict: what a replica makes of its (inputs, labels, weights): tensors [B, ...]. None for
            the model's logits. Compiled at its first use.
        """
        if predict not in self._compiled_predictions:
            function = predict or self._logits
            self._compiled_predictions[predict] = tf.function(
                lambda batches: self._predict_next(batches, function)
            )
        predictions = self._compiled_predictions[predict](batches)
        return tf.nest.map_structure(lambda part: part.numpy(), predictions)

    def _take_steps(self, batches, num_steps, report) -> Call:
        reports = self._first(self._strategy.run(_add_up, args=(report,)))
        total, weight, taken = tf.constant(0.0), tf.constant(0.0), tf.constant(0)
        waited = tf.constant(0.0, tf.float64)
        finite = tf.constant(True)
        while finite and taken < num_steps:
            asked = tf.timestamp()
            with tf.control_dependencies([asked]):
                batch = next(batches)
            with tf.control_dependencies(tf.nest.flatten(batch, expand_composites=True)):
                waited += tf.timestamp() - asked
            batch_loss = self._first(self._strategy.run(self._train_step, args=(batch,)))
            total += batch_loss.total
            weight += batch_loss.weight
            taken += 1
            finite = tf.math.is_finite(batch_loss.total)
        learning_rate = tf.convert_to_tensor(self._optimizer.learning_rate)
        return Call(WeightedSum(total, weight), taken, waited, learning_rate, reports)

    def _logits(self, batch) -> Any:
        inputs, _, _ = batch
        return self._model(inputs, training=False)

    def _predict_next(self, batches, predict: Callable[[tuple], Any]) -> Any:
        def predictions_and_weight(batch) -> tuple:
            *_, weights = batch
            # Rows that only fill up the batch weigh nothing, nor do any of their tokens.
            weight = tf.reduce_sum(tf.reshape(weights, [tf.shape(weights)[0], -1]), axis=1)
            return predict(batch), weight

        result = self._strategy.run(predictions_and_weight, args=(next(batches),))
        predictions, weight = tf.nest.map_structure(
            lambda part: self._strategy.gather(part, axis=0), result
        )
        return tf.nest.map_structure(lambda part: tf.boolean_mask(part, weight > 0), predictions)

    def _first(self, result: Any) -> Any:
        """Returns the first replica's part of what is the same on each."""
        return tf.nest.map_structure(
            lambda part: self._strategy.experimental_local_results(part)[0], result
        )


def _add_up(value) -> tf.Tensor:
    # The identity stands on the replica's device; the value itself stands on none.
    value = tf.identity(value)
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)

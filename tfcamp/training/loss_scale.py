"""The scale that keeps small gradients representable in float16."""

import keras
import tensorflow as tf


class DynamicLossScale:
    """A factor on the loss: halved when a gradient overflows, doubled when none did for long.

    float16 has no numbers between 0 and 6e-8, where many gradients lie, so the loss is multiplied
    before the backward pass, and the gradient divided after it (Micikevicius et al., 2018).
    Keras's ``LossScaleOptimizer`` looks at the gradients of the first replica, before they are
    added up: an overflow on another one would spoil the weights. Here whoever has the sum decides.

    Attributes:
      value: float32[], the factor.
    """

    def __init__(
        self, initial: float = 2.0**10, *, least: float = 2.0**-14, growth_steps: int = 2000
    ) -> None:
        """Makes the variables; under the strategy's scope.

        Args:
          initial: the factor on the *sum* of the losses of a batch.
          least: the factor is never halved below this.
          growth_steps: finite steps in a row after which the factor is doubled.
        """
        self.least = least
        self.growth_steps = growth_steps
        self.value = keras.Variable(initial, trainable=False, dtype="float32", name="loss_scale")
        self._good_steps = keras.Variable(
            0, trainable=False, dtype="int32", name="good_steps", aggregation="only_first_replica"
        )

    @property
    def variables(self) -> list[keras.Variable]:
        """What belongs into a checkpoint."""
        return [self.value, self._good_steps]

    def at_its_least(self) -> tf.Tensor:
        """Tells, bool[], whether it cannot be halved any more: the loss itself is to blame then."""
        return self.value.value <= self.least

    def update(self, finite: tf.Tensor) -> None:
        """Takes note of a step, across replicas.

        Args:
          finite: bool[], whether all gradients were.
        """
        scale, good = self.value.value, self._good_steps.value + 1
        grown = tf.where(good >= self.growth_steps, scale * 2.0, scale)
        halved = tf.maximum(scale / 2.0, self.least)
        self._good_steps.assign(tf.where(finite & (good < self.growth_steps), good, 0))
        self.value.assign(tf.where(finite, grown, halved))

"""An average of the weights over the last steps, which often generalises better than the last."""

import contextlib
from collections.abc import Iterator, Sequence

import keras
import tensorflow as tf


class WeightAverages:
    """Exponential moving averages of variables, under any strategy.

    After step n (counted from 1) the average a of a weight w becomes

        a = d a + (1 - d) w,    d = min(decay, (1 + n) / (10 + n))

    where the second term lets the first, bad weights be forgotten soon. (Keras's ``use_ema`` raises
    under MirroredStrategy.)
    """

    def __init__(self, variables: Sequence[keras.Variable], decay: float) -> None:
        """Makes the averages, equal to the variables; under the strategy's scope.

        Args:
          variables: what is averaged.
          decay: the largest d, in [0, 1): the average looks back on about 1 / (1 - decay) steps.
        """
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"decay must be in [0, 1), got {decay!r}")
        self.decay = decay
        self._averaged = list(variables)
        self.variables = [
            keras.Variable(variable.numpy(), trainable=False, name=f"{variable.name}_average")
            for variable in variables
        ]

    def update(self, strategy: tf.distribute.Strategy, num_steps: keras.Variable) -> None:
        """Moves the averages towards the variables; across replicas.

        Args:
          strategy: under whose scope the averages were made.
          num_steps: steps taken, this one included.
        """
        steps = tf.cast(num_steps.value, tf.float32)
        rest = 1.0 - tf.minimum(self.decay, (1.0 + steps) / (10.0 + steps))

        def move(average, variable, rest) -> None:
            average.assign_sub(tf.cast(rest, average.dtype) * (average - variable))

        for average, variable in zip(self.variables, self._averaged, strict=True):
            strategy.extended.update(average.value, move, args=(variable.value, rest), group=False)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Lets the variables hold their averages for a while."""
        kept = [variable.numpy() for variable in self._averaged]
        for variable, average in zip(self._averaged, self.variables, strict=True):
            variable.assign(average.numpy())
        try:
            yield
        finally:
            for variable, value in zip(self._averaged, kept, strict=True):
                variable.assign(value)

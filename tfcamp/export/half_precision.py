"""Weights stored in half precision, which halves a SavedModel, and used in single precision."""

import keras
import numpy as np
import tensorflow as tf

from tfcamp.errors import Diverged


class HalfPrecisionWeights(tf.Module):
    """The weights of a model as float16 variables, cast once in each call.

    Keras's own way, a layer of dtype float16, would cast a weight wherever it is used: in the loop
    of a beam search, at every token.
    """

    def __init__(self, model: keras.Model) -> None:
        """Copies the weights, rounded; the model's own are not part of what is saved."""
        super().__init__(name="half_precision_weights")
        # Only the float16 variables may be found by whoever saves this module.
        self._weights_of = lambda: model.weights
        self.halves = [
            tf.Variable(tf.cast(weight.value, tf.float16), trainable=False)
            for weight in model.weights
        ]

    def in_place(self) -> keras.StatelessScope:
        """Returns a context in which the model's layers compute with these weights."""
        pairs = zip(self._weights_of(), self.halves, strict=True)
        return keras.StatelessScope(
            [(weight, tf.cast(half, weight.dtype)) for weight, half in pairs]
        )


def round_weights(model: keras.Model) -> None:
    """Rounds all weights of a model to what half precision can hold.

    Raises:
      Diverged: a weight is beyond half precision's largest number, 65,504.
    """
    for weight in model.weights:
        round_weight(weight)


def round_weight(weight: keras.Variable) -> None:
    """Rounds a weight to what half precision can hold.

    Raises:
      Diverged: see `round_weights`.
    """
    value = weight.numpy()
    largest = np.abs(value).max(initial=0)
    if not largest <= np.finfo(np.float16).max:  # nor is NaN
        raise Diverged(
            f"{weight.path} has a value of {largest:.3g}, which half precision cannot hold: try a "
            "smaller --learning-rate, or --clip-norm 1"
        )
    weight.assign(value.astype(np.float16).astype(value.dtype))

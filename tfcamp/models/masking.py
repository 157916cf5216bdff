"""Padding: found once, from the ids, and handed to every layer as an argument.

Padding is on the right, with id 0. A mask is ``bool[B, T]``, True at real positions. Keras also
carries masks along implicitly, from layer to layer; it drops them wherever a plain operation such
as ``x + positions`` stands between two layers, and says nothing. So builders here pass ``mask=``.
"""

from typing import Any

import keras
from keras import ops


class ExplicitMaskLayer(keras.layers.Layer):
    """Base of the layers that take a mask as an argument and hand no implicit one on."""

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Returns None: what comes out has no implicit mask."""
        return None


@keras.saving.register_keras_serializable(package="tfcamp")
class PaddingMask(keras.layers.Layer):
    """Finds the real positions of right-padded ids.

    The first position always counts as real. So an empty text is one padding token long: every
    mean has something to divide by, every softmax something to choose, and cuDNN, which fails on a
    row without a step, gets one.

    >>> print(PaddingMask()(keras.ops.array([[7, 8, 0], [0, 0, 0]])).numpy())
    [[ True  True False]
     [ True False False]]
    """

    def call(self, ids: Any) -> Any:
        """Returns bool[B, T] of int32[B, T]."""
        real = ids != 0
        return ops.concatenate([ops.ones_like(real[:, :1]), real[:, 1:]], axis=1)


@keras.saving.register_keras_serializable(package="tfcamp")
class ZeroPadding(ExplicitMaskLayer):
    """Sets padding to zero, so that a convolution sees the same beyond a text's end as beyond T."""

    def call(self, inputs: Any, mask: Any) -> Any:
        """Returns float[B, T, D] of float[B, T, D] and bool[B, T]."""
        return inputs * ops.cast(mask, inputs.dtype)[:, :, None]


@keras.saving.register_keras_serializable(package="tfcamp")
class CausalMask(keras.layers.Layer):
    """Says where each position may look: at itself and at real ones before it.

    >>> print(CausalMask()(keras.ops.array([[True, True, False]])).numpy())
    [[[ True False False]
      [ True  True False]
      [ True  True False]]]
    """

    def call(self, mask: Any) -> Any:
        """Returns bool[B, T, T], query before key, of the padding mask bool[B, T]."""
        positions = ops.arange(ops.shape(mask)[1])
        return ops.logical_and(positions[None, :] <= positions[:, None], mask[:, None, :])

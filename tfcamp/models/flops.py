"""How much a model computes, counted from its layers."""

import math

import keras

from tfcamp.models.number_reader import PlaceTable

_WITH_KERNEL = (
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
)


def count_flops(model: keras.Model) -> int:
    """Returns the multiplications and additions of a forward pass of one row.

    Counted are products with weights, two operations for each weight and place that it is used at:
    convolutions, dense and recurrent layers. What goes over single values (normalisation,
    activation, pooling, sums) is left out, as papers do; a convolution's border counts like its
    middle. Training takes about three times as much: the gradients of inputs and of weights.

    Args:
      model: functional, of static shape but for the batch.

    Raises:
      ValueError: a layer has a matrix and is of a kind that is not counted here.

    >>> image = keras.Input((4, 4, 3))
    >>> count_flops(keras.Model(image, keras.layers.Conv2D(8, 3, padding="same")(image)))
    6912
    """
    return sum(_layer_flops(layer) for layer in model.layers)


def _layer_flops(layer: keras.layers.Layer) -> int:
    if isinstance(layer, keras.Model):
        return count_flops(layer)
    if isinstance(layer, _WITH_KERNEL):
        return 2 * math.prod(layer.output.shape[1:-1]) * math.prod(layer.kernel.shape)
    if isinstance(layer, (keras.layers.LSTM, keras.layers.GRU)):
        return _steps(layer) * _recurrent_flops(layer)
    if isinstance(layer, keras.layers.Bidirectional):
        directions = (layer.forward_layer, layer.backward_layer)
        return _steps(layer) * sum(_recurrent_flops(direction) for direction in directions)
    if isinstance(layer, (keras.layers.Embedding, PlaceTable)):
        return 0  # rows are looked up or added, nothing is multiplied
    if any(len(weight.shape) > 1 for weight in layer.weights):
        raise ValueError(f"layer {layer.name!r}: {type(layer).__name__} is not counted here")
    return 0


def _steps(layer: keras.layers.Layer) -> int:
    inputs = layer.input[0] if isinstance(layer.input, list) else layer.input  # [x, mask]
    return inputs.shape[1]


def _recurrent_flops(layer: keras.layers.LSTM | keras.layers.GRU) -> int:
    """Returns the operations of one step in one direction."""
    matrices = (layer.cell.kernel, layer.cell.recurrent_kernel)
    return sum(2 * math.prod(matrix.shape) for matrix in matrices)

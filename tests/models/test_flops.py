"""Operations of a forward pass, against counts by hand."""

import keras
import pytest

from tfcamp.models.flops import count_flops
from tfcamp.models.image_blocks import ImageClassifierConfig
from tfcamp.models.image_classifier import build_image_classifier
from tfcamp.models.text_classifier import TextClassifierConfig, build_text_classifier


def test_convolutions_and_dense_by_hand() -> None:
    image = keras.Input((8, 10, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(image)  # to 4 x 5
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.DepthwiseConv2D(3, padding="valid")(x)  # to 2 x 3
    x = keras.layers.Dense(7)(x)  # at every place
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(5)(x)
    by_hand = 2 * (4 * 5 * 9 * 3 * 4 + 2 * 3 * 9 * 4 + 2 * 3 * 4 * 7 + 42 * 5)
    assert count_flops(keras.Model(image, x)) == by_hand


def test_groups_divide_a_convolution() -> None:
    image = keras.Input((4, 4, 8))
    grouped = keras.layers.Conv2D(8, 1, groups=4)(image)
    assert count_flops(keras.Model(image, grouped)) == 2 * 16 * 8 * 2


def test_lenet5_by_hand() -> None:
    model = build_image_classifier("lenet5", ImageClassifierConfig(num_classes=10))
    convolutions = 28 * 28 * 25 * 3 * 8 + 10 * 10 * 25 * 8 * 16
    dense = 400 * 120 + 120 * 84 + 84 * 10
    assert count_flops(model) == 2 * (convolutions + dense)


def test_bidirectional_lstm_by_hand() -> None:
    config = TextClassifierConfig({"word": 50}, 3, length=7, embedding_dim=5, width=6)
    model = build_text_classifier("bilstm", config)
    pooled = 2 * 12 * 3  # maximum and mean, to three classes
    assert count_flops(model) == 7 * 2 * 2 * (5 + 6) * 4 * 6 + 2 * pooled


def test_a_model_inside_a_model_is_counted() -> None:
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    outer = keras.Input((3,))
    assert count_flops(keras.Model(outer, inner(outer))) == 24


def test_what_cannot_be_counted_is_named() -> None:
    image = keras.Input((4, 4, 3))
    layer = keras.layers.Conv2DTranspose(2, 3, name="up")
    with pytest.raises(ValueError, match="'up': Conv2DTranspose"):
        count_flops(keras.Model(image, layer(image)))

"""Blocks of image models: DropBlock, strides, and normalisation across replicas, by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcamp.models.image_blocks import (
    DropBlock,
    TrunkConfig,
    batch_norm,
    conv_block,
    inception_block,
    inverted_residual_block,
    residual_block,
)


def test_drop_block_drops_blocks_and_keeps_the_mean() -> None:
    keras.utils.set_random_seed(0)
    ones = np.ones((200, 12, 10, 4), np.float32)
    layer = DropBlock(0.2, block_size=3)
    np.testing.assert_array_equal(layer(ones), ones)
    dropped = layer(ones, training=True).numpy()
    share = (dropped == 0).mean()
    # Blocks may overlap, so a little less than the rate is dropped.
    assert 0.15 < share < 0.2
    np.testing.assert_allclose(dropped.mean(axis=(1, 2, 3)), 1, rtol=1e-5)
    # Every dropped place lies in a whole block of 3x3 that is dropped.
    zeros = (dropped == 0).astype(np.float32)
    corners = -tf.nn.max_pool2d(-zeros, 3, 1, "VALID")
    padded = tf.pad(corners, [[0, 0], [2, 2], [2, 2], [0, 0]])
    np.testing.assert_array_equal(tf.nn.max_pool2d(padded, 3, 1, "VALID"), zeros)
    # Channels and rows are dropped independently, and anew in each call.
    assert (zeros[..., :1] != zeros).any() and (zeros[:1] != zeros).any()
    assert not np.array_equal(layer(ones, training=True), dropped)
    # The trainer finds the seeds that a checkpoint needs among the layer's variables.
    assert layer.seed_generator.state in layer.variables


def test_drop_block_on_a_map_smaller_than_the_block() -> None:
    layer = DropBlock(0.5, block_size=7, seed=0)
    dropped = layer(np.ones((50, 2, 3, 1), np.float32), training=True).numpy()
    assert np.isfinite(dropped).all() and (dropped == 0).any()


def test_drop_block_in_bfloat16() -> None:
    layer = DropBlock(0.1, block_size=3, seed=0, dtype="bfloat16")
    dropped = layer(tf.ones([2, 40, 40, 8], tf.bfloat16), training=True)
    assert dropped.dtype == tf.bfloat16
    assert float(tf.reduce_mean(tf.cast(dropped, tf.float32))) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"height": 32}, [(1, 1), (2, 2), (2, 2)]),
        ({"height": 48}, [(2, 2), (2, 2), (2, 2)]),
        ({"height": 48, "max_width_stride": 4}, [(2, 2), (2, 2), (2, 1)]),
        ({"height": 48, "max_width_stride": 1}, [(2, 1), (2, 1), (2, 1)]),
        ({"height": 32, "stem_stride": 2, "max_width_stride": 2}, [(2, 2), (2, 1), (2, 1)]),
    ],
)
def test_strides(options, expected) -> None:
    config = TrunkConfig(**options)
    assert [config.strides(stage) for stage in range(3)] == expected


def test_channels_are_multiples_of_four() -> None:
    config = TrunkConfig(width_multiplier=0.3)
    assert [config.channels(n) for n in (6, 32, 64)] == [4, 8, 20]


def test_residual_block_adds_its_input() -> None:
    """With a branch that gives nothing, what comes out is what came in."""
    inputs = keras.Input((4, 4, 8))
    outputs = residual_block(inputs, 8, strides=(1, 1), activation="relu", name="block")
    model = keras.Model(inputs, outputs)
    model.get_layer("block_2_norm").gamma.assign(np.zeros(8))
    maps = np.random.default_rng(0).uniform(size=(2, 4, 4, 8)).astype(np.float32)
    np.testing.assert_allclose(model(maps), maps)


@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (2, 1)])
def test_blocks_take_strides_and_odd_sizes(strides: tuple[int, int]) -> None:
    inputs = keras.Input((7, 9, 6))
    expected = (None, -(-7 // strides[0]), -(-9 // strides[1]), 8)
    options = {"strides": strides, "activation": "relu", "name": "block"}
    assert conv_block(inputs, 8, **options).shape == expected
    assert residual_block(inputs, 8, **options).shape == expected
    assert inverted_residual_block(inputs, 8, **options).shape == expected


def test_no_convolution_of_one_pixel_has_strides() -> None:
    """Its gradient corrupts memory on a CPU: TensorFlow 2.21 dies of it, if not at once."""
    inputs = keras.Input((8, 8, 6))
    residual = residual_block(inputs, 8, strides=(2, 2), activation="relu", name="residual")
    inverted = inverted_residual_block(
        residual, 8, strides=(2, 2), activation="relu", name="inverted"
    )
    for layer in keras.Model(inputs, inverted).layers:
        if isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (1, 1):
            assert layer.strides == (1, 1), layer.name


def test_inception_block_has_its_channels() -> None:
    inputs = keras.Input((4, 4, 8))
    assert inception_block(inputs, 64, activation="relu", name="block").shape == (None, 4, 4, 64)


def test_batch_norm_in_training_and_after() -> None:
    maps = np.random.default_rng(0).normal(3, 2, size=(16, 4, 4, 3)).astype(np.float32)
    layer = batch_norm("norm")
    normalised = layer(maps, training=True).numpy()
    np.testing.assert_allclose(normalised.mean((0, 1, 2)), 0, atol=1e-3)
    np.testing.assert_allclose(normalised.std((0, 1, 2)), 1, atol=1e-2)
    for _ in range(100):
        layer(maps, training=True)
    np.testing.assert_allclose(layer(maps), normalised, atol=1e-2)
    # A frozen trunk keeps its statistics.
    layer.trainable = False
    before = layer.moving_mean.numpy()
    layer(maps + 100, training=True)
    np.testing.assert_array_equal(layer.moving_mean, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"height": 8}, "height must be at least 16 pixels, got 8"),
        ({"depth": 0}, "depth must be at least 1, got 0"),
        ({"width_multiplier": 0.0}, "width_multiplier must be positive"),
        ({"activation": "tanh"}, "'relu', 'swish' or 'mish', got 'tanh'"),
        ({"drop_block": 1.0}, "drop_block"),
    ],
)
def test_mistakes_are_refused(options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrunkConfig(**options)

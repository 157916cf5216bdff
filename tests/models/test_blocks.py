"""Masks, pooling and contexts, by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcamp.models.blocks import (
    ByteDropout,
    Contexts,
    EndStates,
    MaskedMax,
    MaskedMean,
    TokenDropout,
    encoder_block,
    pool,
)
from tfcamp.models.masking import CausalMask, PaddingMask, ZeroPadding

# Two rows of three steps, the second one step shorter; what stands at padding must not matter.
STATES = np.array([[[1, 10], [2, 20], [3, 60]], [[-4, -40], [-6, -80], [99, 99]]], np.float32)
MASK = np.array([[True, True, True], [True, True, False]])


def test_padding_mask() -> None:
    ids = np.array([[7, 1, 8], [9, 0, 0], [0, 0, 0]], np.int32)
    expected = [[True, True, True], [True, False, False], [True, False, False]]
    np.testing.assert_array_equal(PaddingMask()(ids), expected)


def test_causal_mask() -> None:
    """Query before key; the first position is always seen, so no softmax is left with nothing."""
    looks = CausalMask()(MASK).numpy().astype(int)
    np.testing.assert_array_equal(looks[0], [[1, 0, 0], [1, 1, 0], [1, 1, 1]])
    np.testing.assert_array_equal(looks[1], [[1, 0, 0], [1, 1, 0], [1, 1, 0]])


def test_zero_padding() -> None:
    zeroed = ZeroPadding()(STATES, mask=MASK)
    np.testing.assert_array_equal(zeroed[0], STATES[0])
    np.testing.assert_array_equal(zeroed[1], [[-4, -40], [-6, -80], [0, 0]])


def test_token_dropout() -> None:
    ids = np.full((100, 20), 7, np.int32)
    ids[:, 15:] = 0
    layer = TokenDropout(0.3, replacement=1, seed=0)
    np.testing.assert_array_equal(layer(ids), ids)
    dropped = layer(ids, training=True).numpy()
    assert dropped.dtype == np.int32
    assert set(np.unique(dropped[:, :15])) == {1, 7} and not dropped[:, 15:].any()
    assert np.mean(dropped[:, :15] == 1) == pytest.approx(0.3, abs=0.04)
    assert not np.array_equal(layer(ids, training=True), dropped)
    # The trainer finds the seeds that a checkpoint needs among the layer's variables.
    assert layer.seed_generator.state in layer.variables


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_byte_dropout(dtype: str) -> None:
    inputs = np.ones((97, 103), np.float32)  # no multiple of the four bytes that are drawn at once
    layer = ByteDropout(0.3, seed=0, dtype=dtype)
    np.testing.assert_array_equal(layer(inputs), inputs)
    dropped = np.asarray(layer(inputs, training=True)).astype(np.float32)
    # 0.3 is 77 of 256, to the next whole number.
    kept = float(tf.cast(256 / (256 - 77), dtype))
    np.testing.assert_array_equal(np.unique(dropped), np.array([0, kept], np.float32))
    assert np.mean(dropped == 0) == pytest.approx(77 / 256, abs=0.01)
    for axis in (0, 1):  # no row, no column and no byte of a word is special
        assert np.mean(dropped == 0, axis=axis).std() == pytest.approx(0.046, abs=0.01)
    assert not np.array_equal(layer(inputs, training=True), dropped)
    again = ByteDropout.from_config(layer.get_config())
    np.testing.assert_array_equal(again(inputs, training=True), dropped)


def test_byte_dropout_drops_the_gradient_where_it_drops_the_value() -> None:
    inputs = tf.Variable(tf.ones([40, 40]))
    with tf.GradientTape() as tape:
        outputs = ByteDropout(0.5, seed=0)(inputs, training=True)
    np.testing.assert_array_equal(tape.gradient(outputs, inputs), outputs)


@pytest.mark.parametrize(("rate", "share"), [(0.001, 0.0), (0.999, 255 / 256)])
def test_byte_dropout_at_the_ends(rate: float, share: float) -> None:
    dropped = ByteDropout(rate, seed=0)(np.ones((300, 300), np.float32), training=True)
    assert np.mean(np.asarray(dropped) == 0) == pytest.approx(share, abs=0.002)
    assert np.isfinite(dropped).all()


def test_mean() -> None:
    np.testing.assert_allclose(MaskedMean()(STATES, mask=MASK), [[2, 30], [-5, -60]])


def test_max() -> None:
    np.testing.assert_allclose(MaskedMax()(STATES, mask=MASK), [[3, 60], [-4, -40]])


def test_end_states() -> None:
    """Forwards at the last real step, backwards at the first."""
    np.testing.assert_allclose(EndStates()(STATES, mask=MASK), [[3, 10], [-6, -40]])


def test_end_states_are_those_of_keras() -> None:
    layer = keras.layers.Bidirectional(
        keras.layers.LSTM(4, return_sequences=True, return_state=True)
    )
    states, forwards, _, backwards, _ = layer(STATES, mask=MASK)
    expected = np.concatenate([forwards, backwards], axis=-1)
    np.testing.assert_allclose(EndStates()(states, mask=MASK), expected, rtol=1e-6)


def test_contexts() -> None:
    left, right = Contexts()(STATES)
    np.testing.assert_array_equal(left[0], [[0], [1], [2]])
    np.testing.assert_array_equal(right[0], [[20], [60], [0]])


def test_mean_of_bfloat16_is_summed_in_float32() -> None:
    """300 + 1 is 300 in bfloat16: a running sum of ones would stop at 256."""
    ones = np.ones((1, 1000, 1), np.float32)
    mean = MaskedMean(dtype="bfloat16")(ones, mask=np.ones((1, 1000), bool))
    assert mean.dtype == "bfloat16"
    assert float(mean[0, 0]) == 1.0


def test_pool_concatenates_in_order() -> None:
    inputs, mask = keras.Input((3, 2)), keras.Input((3,), dtype="bool")
    pooled = pool(inputs, mask, ("max", "mean", "last"), width=4)
    result = keras.Model([inputs, mask], pooled)([STATES, MASK])
    np.testing.assert_allclose(result[1], [-4, -40, -5, -60, -6, -40])
    assert pool(inputs, mask, ("attention", "mean"), width=4).shape == (None, 4)


def test_unknown_pooling_is_refused() -> None:
    inputs, mask = keras.Input((3, 2)), keras.Input((3,), dtype="bool")
    for kinds in ((), ("sum",), "max"):
        with pytest.raises(ValueError, match="last, mean, max, attention"):
            pool(inputs, mask, kinds, width=4)


def test_encoder_block_starts_near_the_identity_and_keeps_padding_out() -> None:
    keras.utils.set_random_seed(0)
    inputs, mask = keras.Input((None, 8)), keras.Input((None,), dtype="bool")
    block = keras.Model(
        [inputs, mask],
        encoder_block(inputs, mask, num_heads=2, dropout=0.5, name="block"),
    )
    states = np.random.default_rng(0).normal(size=(2, 3, 8)).astype(np.float32)
    changed = np.where(MASK[:, :, None], states, 7.0).astype(np.float32)
    before, after = block([states, MASK]).numpy(), block([changed, MASK]).numpy()
    np.testing.assert_allclose(before[MASK], after[MASK], atol=1e-6)
    # The residual road: with both branches' last layers at zero nothing is changed.
    for name in ("block_attention", "block_outer"):
        layer = block.get_layer(name)
        for weight in layer.weights:
            if name == "block_outer" or "/output/" in weight.path:
                weight.assign(np.zeros(weight.shape))
    np.testing.assert_array_equal(block([states, MASK]), states)

"""Weights in half precision: what is saved, and that the model computes with just these."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcamp.errors import Diverged
from tfcamp.export.half_precision import HalfPrecisionWeights, round_weights

THIRD = float(np.float16(1 / 3))  # 0.33325


@pytest.fixture
def model() -> keras.Model:
    """A model of 32 + 20 weights, of which half precision can hold none."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8,))
    outputs = keras.layers.Dense(4, name="last")(keras.layers.Dense(4, use_bias=False)(inputs))
    model = keras.Model(inputs, outputs)
    for weight in model.weights:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape) + 1 / 3)
    return model


def rounded(model: keras.Model) -> keras.Model:
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    round_weights(clone)
    return clone


class TestRoundWeights:
    def test_values(self, model) -> None:
        values = np.array([1 / 3, 1.0, 65504.0, 1e-9])
        model.get_layer("last").bias.assign(values)
        round_weights(model)
        bias = model.get_layer("last").bias.numpy()
        assert bias.tolist() == [THIRD, 1.0, 65504.0, 0.0] and bias.dtype == np.float32

    def test_leaves_nothing_to_round(self, model) -> None:
        before = model.get_weights()
        round_weights(model)
        once = model.get_weights()
        round_weights(model)
        for weight, first, second in zip(before, once, model.get_weights(), strict=True):
            assert not np.array_equal(weight, first)
            np.testing.assert_array_equal(first, second)
            np.testing.assert_allclose(weight, first, rtol=2**-11)

    @pytest.mark.parametrize("value", [-65520.0, 1e9, np.inf, np.nan])
    def test_what_does_not_fit_is_named(self, model, value) -> None:
        model.get_layer("last").bias.assign([0, 0, value, 0])
        with pytest.raises(Diverged, match=r"last/bias has .* half precision cannot hold"):
            round_weights(model)


class TestHalfPrecisionWeights:
    def test_the_model_computes_with_the_rounded_ones_and_keeps_its_own(self, model) -> None:
        inputs = np.random.default_rng(1).normal(size=(3, 8)).astype(np.float32)
        before, expected = model(inputs).numpy(), rounded(model)(inputs).numpy()
        assert np.abs(expected - before).max() > 1e-4, "rounding must show"
        halves = HalfPrecisionWeights(model)
        with halves.in_place():
            np.testing.assert_array_equal(model(inputs), expected)
        np.testing.assert_array_equal(model(inputs), before)

    def test_in_a_graph(self, model) -> None:
        halves, inputs = HalfPrecisionWeights(model), tf.ones([2, 8])

        @tf.function
        def compute(inputs):
            with halves.in_place():
                return model(inputs)

        expected = rounded(model)(inputs)
        np.testing.assert_allclose(compute(inputs), expected, rtol=1e-6)
        # They are variables, not constants of the graph.
        change = np.array([1, 0, 0, 0])
        halves.halves[-1].assign_add(change)
        np.testing.assert_allclose(compute(inputs), expected + change, rtol=1e-6)

    def test_only_they_are_saved_and_take_two_bytes_a_number(self, tmp_path) -> None:
        inputs = keras.Input((100,))
        model = keras.Model(inputs, keras.layers.Dense(1_000)(inputs))
        module = tf.Module()
        module.halves = halves = HalfPrecisionWeights(model)

        @tf.function(input_signature=[tf.TensorSpec([None, 100])])
        def compute(inputs):
            with halves.in_place():
                return model(inputs)

        module.compute = compute
        tf.saved_model.save(module, str(tmp_path))
        stored = tf.train.load_checkpoint(str(tmp_path / "variables/variables"))
        types = stored.get_variable_to_dtype_map()
        types.pop("_CHECKPOINTABLE_OBJECT_GRAPH")
        assert set(types.values()) == {tf.float16} and len(types) == len(model.weights)
        size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
        numbers = model.count_params()
        assert 2 * numbers < size < 2.2 * numbers
        ones = tf.ones([1, 100])
        served = tf.saved_model.load(str(tmp_path))
        np.testing.assert_allclose(served.compute(ones), rounded(model)(ones), rtol=1e-5, atol=1e-6)

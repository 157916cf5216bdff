"""Weights of another run, and a part of the model that learns more slowly."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.catalogue import tiny_image_config, tiny_reader_config
from tfcamp.models.image_classifier import build_image_classifier
from tfcamp.models.number_reader import build_number_reader
from tfcamp.models.trunks import trunk_of
from tfcamp.training.fine_tuning import FineTuningAdam, build_fine_tuning_optimizer, take_weights
from tfcamp.training.optimizers import RowSparseAdam, apply_gradients
from tfcamp.training.variables import read_variables


def reader(seed: int, **changes) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return build_number_reader("multihead", tiny_reader_config(**changes))


class TestTakeWeights:
    def test_the_same_model_takes_all(self) -> None:
        one, other = reader(0), reader(1)
        assert take_weights(other, read_variables(one.weights)) == []
        for taken, given in zip(other.get_weights(), one.get_weights(), strict=True):
            np.testing.assert_array_equal(taken, given)

    def test_another_head_keeps_its_own(self) -> None:
        keras.utils.set_random_seed(0)
        config = tiny_image_config(height=16, width=32, max_width_stride=2)
        classifier = build_image_classifier("resnet", config)
        other = reader(1)
        before = {weight.path: weight.numpy() for weight in other.weights}
        left = take_weights(other, read_variables(classifier.weights))
        trunk = {weight.path for weight in trunk_of(other).weights}
        assert set(left) == {weight.path for weight in other.weights} - trunk
        given = {weight.path: weight.numpy() for weight in classifier.weights}
        for weight in other.weights:
            expected = given[weight.path] if weight.path in trunk else before[weight.path]
            np.testing.assert_array_equal(weight.numpy(), expected)

    def test_another_width_fits_nowhere_in_the_trunk(self) -> None:
        left = take_weights(reader(0, width_multiplier=1.0), read_variables(reader(1).weights))
        assert "stem_conv/kernel" in left


def take_steps(optimizer: keras.optimizers.Optimizer, model: keras.Model, steps: int = 3) -> None:
    optimizer.build(model.trainable_variables)
    for step in range(steps):
        gradients = [
            tf.fill(variable.shape, 0.1 * (step + 1)) for variable in model.trainable_variables
        ]
        apply_gradients(
            tf.distribute.get_strategy(), optimizer, gradients, model.trainable_variables
        )


class TestFineTuningAdam:
    def test_the_slow_part_moves_by_the_factor(self) -> None:
        model, start = reader(0), reader(0)
        slow = {variable.path for variable in trunk_of(model).trainable_variables}
        options = {"slow_paths": sorted(slow), "slow_factor": 0.1}
        take_steps(FineTuningAdam(1e-3, **options), model)
        plain = reader(0)
        take_steps(RowSparseAdam(1e-3), plain)
        for ours, theirs, before in zip(
            model.trainable_variables,
            plain.trainable_variables,
            start.trainable_variables,
            strict=True,
        ):
            factor = 0.1 if ours.path in slow else 1.0
            moved = theirs.numpy() - before.numpy()
            assert np.abs(moved).min() > 1e-3
            np.testing.assert_allclose(ours.numpy() - before.numpy(), factor * moved, atol=1e-6)

    def test_the_slow_part_does_not_decay(self) -> None:
        model = reader(0)
        trunk = trunk_of(model)
        optimizer = build_fine_tuning_optimizer(
            1e-2, model, trunk, slow_factor=0.1, weight_decay=0.5
        )
        optimizer.build(model.trainable_variables)
        before = [variable.numpy() for variable in model.trainable_variables]
        zeros = [tf.zeros(variable.shape) for variable in model.trainable_variables]
        apply_gradients(tf.distribute.get_strategy(), optimizer, zeros, model.trainable_variables)
        slow = {variable.path for variable in trunk.trainable_variables}
        for variable, old in zip(model.trainable_variables, before, strict=True):
            decays = variable.path not in slow and old.ndim > 1
            factor = 1 - 0.5e-2 if decays else 1.0
            np.testing.assert_allclose(variable.numpy(), factor * old, rtol=1e-5, atol=1e-8)

    def test_it_is_saved_with_its_options(self) -> None:
        optimizer = FineTuningAdam(1e-3, slow_paths=["a/kernel"], slow_factor=0.5)
        again = FineTuningAdam.from_config(optimizer.get_config())
        assert (again.slow_paths, again.slow_factor) == (("a/kernel",), 0.5)

    def test_a_factor_of_nothing_is_refused(self) -> None:
        with pytest.raises(ValueError, match="freeze instead"):
            FineTuningAdam(slow_factor=0.0)

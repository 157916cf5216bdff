"""One step: what counts, what does not, and what stays sparse. The steps here run eagerly."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.training.tiny import NUM_CLASSES, VOCABULARY, make_model
from tfcamp.losses import WeightedSum, cross_entropy
from tfcamp.training.step import StepOptions, build_train_step


def make_batch(num_rows: int = 6) -> tuple:
    random = np.random.default_rng(1)
    ids = random.integers(2, VOCABULARY, [num_rows, 5]).astype(np.int32)
    labels = (ids[:, 0] % NUM_CLASSES).astype(np.int32)
    return {"word": tf.constant(ids)}, tf.constant(labels), tf.ones([num_rows])


def take_step(
    model: keras.Model, batch: tuple, loss=cross_entropy, optimizer: Any = None, **options
) -> WeightedSum:
    optimizer = keras.optimizers.SGD(0.5) if optimizer is None else optimizer
    optimizer.build(model.trainable_variables)
    return build_train_step(model, optimizer, loss, StepOptions(**options))(batch)


def assert_weights_equal(model: keras.Model, other: keras.Model, atol: float = 1e-7) -> None:
    for ours, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


def test_rows_of_weight_zero_change_nothing():
    inputs, labels, weights = make_batch()
    padded = (
        {"word": tf.concat([inputs["word"], tf.fill([3, 5], 7)], 0)},
        tf.concat([labels, [2, 0, 1]], 0),
        tf.concat([weights, tf.zeros(3)], 0),
    )
    model, other = make_model(dropout=0.0), make_model(dropout=0.0)
    loss = take_step(model, (inputs, labels, weights))
    padded_loss = take_step(other, padded)
    assert float(padded_loss.weight) == 6
    assert float(padded_loss.total) == pytest.approx(float(loss.total), rel=1e-6)
    assert_weights_equal(model, other)


def test_a_weight_is_a_number_of_copies():
    inputs, labels, _ = make_batch(2)
    model, other = make_model(dropout=0.0), make_model(dropout=0.0)
    take_step(model, (inputs, labels, tf.constant([3.0, 1.0])))
    copies = [0, 0, 0, 1]
    copied = {"word": tf.gather(inputs["word"], copies)}
    take_step(other, (copied, tf.gather(labels, copies), tf.ones(4)))
    assert_weights_equal(model, other)


def test_dropout_is_on():
    seen = []

    def loss(labels, logits, *, weights) -> WeightedSum:
        seen.append(logits.numpy())
        return cross_entropy(labels, logits, weights=weights)

    ids = keras.Input([None], dtype="int32", name="word")
    ones = keras.layers.Embedding(VOCABULARY, 200, embeddings_initializer="ones")(ids)
    pooled = keras.layers.GlobalAveragePooling1D()(ones)
    model = keras.Model({"word": ids}, keras.layers.Dropout(0.5)(pooled))
    take_step(model, make_batch(), loss)
    assert set(np.unique(seen[0])) == {0.0, 2.0}
    assert 0.4 < np.mean(seen[0] == 0) < 0.6


def test_moving_statistics_move():
    normalization = keras.layers.BatchNormalization()
    model = make_model(extra=normalization)
    before = normalization.moving_mean.numpy()
    take_step(model, make_batch())
    assert np.all(normalization.moving_mean.numpy() != before)


def test_regularisation_is_part_of_the_objective_and_not_of_the_loss():
    model, plain = make_model(dropout=0.0), make_model(dropout=0.0)
    dense = plain.layers[-1]
    dense.kernel.regularizer = None
    kernel = dense.kernel.numpy()
    assert float(take_step(model, make_batch()).total) == pytest.approx(
        float(take_step(plain, make_batch()).total), rel=1e-6
    )
    # SGD with rate 0.5 on 0.001 |kernel|^2 takes 0.001 of the kernel more.
    np.testing.assert_allclose(
        model.layers[-1].kernel.numpy(), dense.kernel.numpy() - 0.001 * kernel, atol=1e-7
    )


def test_the_slices_of_a_row_are_added_up_before_they_are_squared():
    """By Adam's second moment, and by the norm: Keras and `tf.clip_by_global_norm` do not."""
    inputs, labels, weights = make_batch()
    assert np.unique(inputs["word"]).size < inputs["word"].shape[0] * inputs["word"].shape[1]
    for options in ({}, {"clip_norm": 1e9}, {"clip_norm": 0.01}):
        model, other = make_model(dropout=0.0), make_model(dropout=0.0)
        for each, dense in ((model, False), (other, True)):
            adam = keras.optimizers.Adam(0.01, epsilon=1e-5)
            batch = (inputs, labels, weights)
            take_step(each, batch, optimizer=adam, dense_gradients=dense, **options)
        assert_weights_equal(model, other)


def test_clipped_slices_stay_sparse():
    seen = []

    class Watched(keras.optimizers.SGD):
        def update_step(self, gradient, variable, learning_rate) -> None:
            seen.append(gradient)

    model = make_model()
    take_step(model, make_batch(), optimizer=Watched(), clip_norm=0.01)
    table, *rest = seen
    assert isinstance(table, tf.IndexedSlices) and len(table.indices) < VOCABULARY
    assert rest and not any(isinstance(gradient, tf.IndexedSlices) for gradient in rest)


def test_a_small_gradient_is_not_clipped():
    model, other = make_model(dropout=0.0), make_model(dropout=0.0)
    take_step(model, make_batch(), clip_norm=1e9)
    take_step(other, make_batch())
    assert_weights_equal(model, other)


def test_a_step_moves_no_further_than_its_clipped_gradient():
    model, batch = make_model(dropout=0.0), make_batch()
    before = model.get_weights()
    take_step(model, batch, clip_norm=0.01)
    moved = [new - old for new, old in zip(model.get_weights(), before, strict=True)]
    assert np.sqrt(sum(np.sum(change**2) for change in moved)) == pytest.approx(0.005, rel=1e-4)


def test_an_adversarial_step_is_the_mean_of_two_and_leaves_no_trace():
    batch = make_batch()
    inputs, labels, weights = batch
    distance = 0.3
    model, by_hand, still = (make_model(dropout=0.0) for _ in range(3))
    variables = [variable.value for variable in by_hand.trainable_variables]

    def gradients() -> list:
        with tf.GradientTape() as tape:
            loss = cross_entropy(labels, by_hand(inputs, training=True), weights=weights).mean()
            objective = loss + tf.add_n(by_hand.losses)
        return [tf.convert_to_tensor(part) for part in tape.gradient(objective, variables)]

    clean = gradients()
    table = variables[0]
    before = table.numpy()
    uphill = clean[0] / tf.norm(clean[0])
    table.assign_add(distance * np.sqrt(6) * uphill)
    moved = gradients()
    table.assign(before)
    for variable, first, second in zip(variables, clean, moved, strict=True):
        variable.assign_sub(0.5 * (first + second) / 2)

    take_step(model, batch, adversarial_norm=distance)
    assert_weights_equal(model, by_hand, atol=1e-6)
    assert not np.allclose(moved[0], clean[0], atol=1e-4)

    optimizer = keras.optimizers.SGD(0.0)
    optimizer.build(still.trainable_variables)
    start = still.get_weights()
    build_train_step(still, optimizer, cross_entropy, StepOptions(adversarial_norm=distance))(batch)
    for ours, theirs in zip(still.get_weights(), start, strict=True):
        np.testing.assert_array_equal(ours, theirs)

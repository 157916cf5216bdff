"""Two replicas are one device: the rules of the loop, each beside the naive version that fails.

The replicas are two virtual devices of one CPU; tests/distributed does the same with processes.
"""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.training.replicas import MODELS, ONE, OPTIMIZERS, distance, make_trainer, train
from tests.training.tiny import VOCABULARY, make_model, make_stream
from tfcamp.data.pipeline import BatchStream
from tfcamp.errors import UserError
from tfcamp.losses import WeightedSum, cross_entropy
from tfcamp.training.checkpoints import CheckpointFolder
from tfcamp.training.step import StepOptions
from tfcamp.training.trainer import Trainer


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> BatchStream:
    """Batches of up to 7 rows of 1 to 8 tokens, the last ones smaller; no half of 7 is whole."""
    return make_stream(tmp_path_factory.mktemp("rows") / "packed", batch_size=7)


@pytest.mark.parametrize(
    ("model", "optimizer"),
    [
        ("recurrent", "sgd"),
        ("transformer", "row_sparse_adam"),
        *(
            pytest.param(model, optimizer, marks=pytest.mark.slow)
            for model, optimizer in itertools.product(MODELS, OPTIMIZERS)
        ),
    ],
)
def test_two_replicas_end_where_one_device_ends(stream, two_replicas, tmp_path, model, optimizer):
    """Ragged batches, padding, clipping, regularisation, an embedding with repeated rows."""
    one = make_trainer(tmp_path / "one", ONE, MODELS[model], optimizer)
    two = make_trainer(tmp_path / "two", two_replicas, MODELS[model], optimizer)
    before = one.model.get_weights()
    ours, theirs = train(two, stream), train(one, stream)
    assert distance(ours, theirs) < 1e-6
    assert distance(theirs, before) > 0.01
    np.testing.assert_allclose(two.predict(stream), one.predict(stream), rtol=0, atol=1e-4)


@pytest.mark.parametrize("accumulate", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_a_step_in_parts_is_the_same_step(stream, two_replicas, tmp_path, accumulate):
    options = StepOptions(clip_norm=0.1, accumulate=accumulate)
    whole = train(make_trainer(tmp_path / "whole", ONE), stream)
    parts = train(make_trainer(tmp_path / "parts", ONE, options=options), stream)
    both = train(make_trainer(tmp_path / "both", two_replicas, options=options), stream)
    assert distance(parts, whole) < 1e-6
    assert distance(both, whole) < 1e-6


@pytest.mark.parametrize("option", [{"clipnorm": 1.0}, {"use_ema": True}, {"global_clipnorm": 1.0}])
def test_an_optimizer_that_does_the_step_s_work_is_refused(tmp_path, option):
    with pytest.raises(ValueError, match=f"{next(iter(option))}=.*use StepOptions"):
        Trainer(
            make_model(),
            keras.optimizers.SGD(0.1, **option),
            cross_entropy,
            checkpoints=CheckpointFolder(tmp_path),
        )


def naive_step(strategy, model, optimizer, batch) -> None:
    """What most examples do: each replica's own mean, and the optimizer does the rest."""

    def step(batch) -> None:
        inputs, labels, weights = batch
        with tf.GradientTape() as tape:
            total, weight = cross_entropy(labels, model(inputs, training=True), weights=weights)
            mean = total / weight / strategy.num_replicas_in_sync
        optimizer.apply(tape.gradient(mean, model.trainable_weights), model.trainable_weights)

    strategy.run(step, args=(batch,))


def test_gradients_are_clipped_after_they_were_added_up(stream, two_replicas, tmp_path):
    """And divided by the weight of the whole batch, of which one replica has more."""
    options = StepOptions(clip_norm=0.01)
    one = make_trainer(tmp_path / "one", ONE, options=options)
    two = make_trainer(tmp_path / "two", two_replicas, options=options)
    with two_replicas.scope():
        model = make_model(dropout=0.0)
        optimizer = keras.optimizers.SGD(0.5, global_clipnorm=0.01)
        optimizer.build(model.trainable_variables)
    batches = two.distribute(stream)
    naive = tf.function(lambda: naive_step(two_replicas, model, optimizer, next(batches)))
    naive()
    expected = train(one, stream, 1)
    assert distance(model.get_weights(), expected) > 1e-4
    assert distance(train(two, stream, 1), expected) < 1e-7


def masks_of(strategy: tf.distribute.Strategy, model: keras.Model) -> list[np.ndarray]:
    """Returns what dropout lets through on each replica."""
    ids = {"word": tf.ones([2, 3], tf.int32)}
    features = strategy.run(lambda: model(ids, training=True))
    return [part.numpy() > 0 for part in strategy.experimental_local_results(features)]


def dropout_of_ones() -> keras.Model:
    ids = keras.Input([None], dtype="int32", name="word")
    ones = keras.layers.Embedding(VOCABULARY, 50, embeddings_initializer="ones")(ids)
    pooled = keras.layers.GlobalAveragePooling1D()(ones)
    return keras.Model({"word": ids}, keras.layers.Dropout(0.5, seed=3)(pooled))


def test_replicas_drop_different_positions(two_replicas, tmp_path):
    with two_replicas.scope():
        naive = dropout_of_ones()
    first, second = masks_of(two_replicas, naive)
    np.testing.assert_array_equal(first, second)

    trainer = make_trainer(tmp_path, two_replicas, dropout_of_ones)
    trainer.save()
    ours = [masks_of(two_replicas, trainer.model) for _ in range(2)]
    np.testing.assert_array_equal(ours[0][0], first)  # as one device would
    for one, other in ((ours[0][0], ours[0][1]), (ours[0][1], ours[1][1])):
        assert 0.3 < (one != other).mean() < 0.7
    trainer.restore()
    np.testing.assert_array_equal(masks_of(two_replicas, trainer.model), ours[0])


def test_two_replicas_go_on_with_the_same_bits(stream, two_replicas, tmp_path):
    def build() -> keras.Model:
        return make_model(dropout=0.5)

    straight = train(make_trainer(tmp_path / "straight", two_replicas, build), stream)
    first = make_trainer(tmp_path / "run", two_replicas, build)
    train(first, stream, 9)
    first.save()
    second = make_trainer(tmp_path / "run", two_replicas, build)
    second.restore()
    assert second.step == 9
    assert distance(train(second, stream), straight) == 0.0


@pytest.mark.parametrize(
    "option", [{"gradient_accumulation_steps": 2}, {"use_ema": True, "ema_overwrite_frequency": 1}]
)
def test_keras_accumulates_and_averages_on_one_replica_only(two_replicas, option):
    """Were it to work one day, ours could go."""
    with two_replicas.scope():
        model = make_model()
        optimizer = keras.optimizers.SGD(0.5, **option)
        optimizer.build(model.trainable_variables)

    def step() -> None:
        gradients = [tf.zeros(variable.shape) for variable in model.trainable_variables]
        optimizer.apply(gradients, model.trainable_variables)

    with pytest.raises((ValueError, RuntimeError, AttributeError, NotImplementedError)):
        tf.function(lambda: two_replicas.run(step))()


def on_last_replica() -> tf.Tensor:
    context = tf.distribute.get_replica_context()
    return tf.equal(context.replica_id_in_sync_group, context.num_replicas_in_sync - 1)


def test_an_overflow_on_any_replica_skips_the_step_on_all(stream, two_replicas, tmp_path):
    trainers: list[Trainer] = []

    def loss(labels, logits, *, weights) -> WeightedSum:
        """Its gradient is infinite in the step after four, on the replica that nobody looks at."""
        total, weight = cross_entropy(labels, logits, weights=weights)
        overflows = on_last_replica() & tf.equal(trainers[0].optimizer.iterations.value, 4)
        return WeightedSum(
            total * tf.where(overflows & (loss_scale() > 512.0), np.inf, 1.0), weight
        )

    def loss_scale() -> tf.Tensor:
        scale = trainers[0].loss_scale
        assert scale is not None
        return scale.value.value

    keras.config.set_dtype_policy("mixed_float16")
    try:
        trainer = make_trainer(tmp_path, two_replicas, loss=loss)
    finally:
        keras.config.set_dtype_policy("float32")
    trainers.append(trainer)
    assert trainer.loss_scale is not None
    before = train(trainer, stream, 4)
    after = train(trainer, stream, 5)
    assert distance(before, after) == 0.0
    assert trainer.step == 5 and int(trainer.optimizer.iterations.numpy()) == 4
    assert float(trainer.loss_scale.value.numpy()) == 512.0
    assert distance(train(trainer, stream, 6), after) > 0.0

    with two_replicas.scope():
        variable = keras.Variable([1.0])
        naive = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
        naive.build([variable])

    def step() -> None:
        naive.apply([tf.where(on_last_replica(), [np.inf], [1.0])], [variable])

    scale = float(naive.dynamic_scale.numpy())
    tf.function(lambda: two_replicas.run(step))()
    assert not np.isfinite(variable.numpy()).all()
    assert float(naive.dynamic_scale.numpy()) == scale


def test_a_gradient_that_no_scale_can_help_stops_the_training(stream, tmp_path):
    """Otherwise every step would be skipped to the end, without a word."""

    def loss(labels, logits, *, weights) -> WeightedSum:
        total, weight = cross_entropy(labels, logits, weights=weights)
        return WeightedSum(
            total + tf.sqrt(tf.reduce_sum(0.0 * tf.cast(logits, tf.float32))), weight
        )

    keras.config.set_dtype_policy("mixed_float16")
    try:
        trainer = make_trainer(tmp_path, ONE, loss=loss)
    finally:
        keras.config.set_dtype_policy("float32")
    with pytest.raises(UserError, match="the loss is nan at step 25"):
        train(trainer, stream, 100)


def test_averages_of_the_weights(stream, two_replicas, tmp_path):
    """Against the recurrence by hand, on one device and on two."""
    one = make_trainer(tmp_path / "one", ONE, average_decay=0.5)
    two = make_trainer(tmp_path / "two", two_replicas, average_decay=0.5)
    expected = one.model.trainable_variables[0].numpy()
    for step in range(1, 7):
        train(one, stream, step)
        decay = min(0.5, (1 + step) / (10 + step))
        weight = one.model.trainable_variables[0].numpy()
        expected = decay * expected + (1 - decay) * weight
    train(two, stream, 6)
    for trainer in (one, two):
        variable = trainer.model.trainable_variables[0]
        last = variable.numpy()
        with trainer.averaged_weights():
            np.testing.assert_allclose(variable.numpy(), expected, rtol=0, atol=1e-6)
            assert np.abs(last - expected).max() > 1e-4
        np.testing.assert_array_equal(variable.numpy(), last)
    one.save()
    again = make_trainer(tmp_path / "one", ONE, average_decay=0.5)
    again.restore()
    with again.averaged_weights():
        weight = again.model.trainable_variables[0].numpy()
    np.testing.assert_allclose(weight, expected, rtol=0, atol=1e-6)


def test_moving_statistics_are_those_of_all_replicas(stream, two_replicas, tmp_path):
    def build() -> keras.Model:
        return make_model(dropout=0.0, extra=keras.layers.BatchNormalization(synchronized=True))

    ours = make_trainer(tmp_path, two_replicas, build)
    train(ours, stream, 3)
    for variable in ours.model.non_trainable_variables:
        if "moving" in variable.path:
            first, second = two_replicas.experimental_local_results(variable.value)
            np.testing.assert_array_equal(first.numpy(), second.numpy())


@pytest.mark.slow
def test_xla_compiles_what_a_replica_does_alone(stream, two_replicas, tmp_path):
    """The whole step cannot be compiled: XLA knows no other replica."""
    static = BatchStream(stream.examples, 8, stream.seed, 8, static_shapes=True)
    options = StepOptions(clip_norm=0.1, jit_compile=True)
    plain = train(make_trainer(tmp_path / "plain", ONE), static, 3)
    compiled = make_trainer(tmp_path / "xla", two_replicas, options=options)
    assert distance(train(compiled, static, 3), plain) < 1e-5

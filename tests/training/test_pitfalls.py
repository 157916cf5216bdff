"""What TensorFlow and Keras do that decides how the loop is written: each naive version fails.

The rules for several replicas stand in test_replicas.py, those for repeated rows in test_step.py.
Were one of these to fail one day, the library under us would have changed, and ours could be
simpler.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.training.replicas import ONE, distance, make_trainer, train
from tests.training.tiny import NUM_CLASSES, make_model, make_stream
from tfcamp.data.pipeline import BatchStream
from tfcamp.losses import cross_entropy


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> BatchStream:
    return make_stream(tmp_path_factory.mktemp("rows") / "packed")


def test_slots_are_made_under_the_scope_before_the_first_trace(two_replicas, tmp_path):
    naive = keras.optimizers.Adam(0.1)
    with two_replicas.scope(), pytest.raises(RuntimeError, match="Mixing different"):
        naive.build([keras.Variable([1.0])])
    trainer = make_trainer(tmp_path, two_replicas, optimizer="adam")
    assert trainer.optimizer.built


def test_a_keras_loss_divides_by_the_number_of_replicas(two_replicas):
    """So it may not be divided by the weight of the whole batch once more."""
    labels, logits = tf.constant([1, 2]), tf.random.stateless_normal([2, NUM_CLASSES], (1, 2))

    def losses() -> tuple:
        naive = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
        return naive, cross_entropy(labels, logits).mean()

    naive, ours = (
        two_replicas.experimental_local_results(loss)[0].numpy()
        for loss in two_replicas.run(losses)
    )
    expected = cross_entropy(labels, logits).mean().numpy()
    assert naive == pytest.approx(expected / 2, rel=1e-6)
    assert ours == pytest.approx(expected, rel=1e-6)


def test_a_step_counter_is_read_by_numpy(two_replicas, tmp_path):
    trainer = make_trainer(tmp_path, two_replicas)
    with pytest.raises(TypeError):
        int(trainer.optimizer.iterations)
    assert trainer.optimizer.iterations.numpy() == 0


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras's, while it saves
def test_the_seed_of_dropout_is_in_our_checkpoints_only(stream, tmp_path):
    def build() -> keras.Model:
        return make_model(dropout=0.5)

    def states(model: keras.Model) -> list[list[int]]:
        return [v.numpy().tolist() for v in model.variables if "seed_generator" in v.path]

    trainer = make_trainer(tmp_path / "run", ONE, build)
    train(trainer, stream, 5)
    trainer.save()
    expected = states(trainer.model)
    checkpoint = tf.train.Checkpoint(model=trainer.model, optimizer=trainer.optimizer)
    path = checkpoint.write(str(tmp_path / "naive"))
    trainer.model.save(tmp_path / "naive.keras")

    naive = make_trainer(tmp_path / "other", ONE, build)
    other = tf.train.Checkpoint(model=naive.model, optimizer=naive.optimizer)
    other.read(path).expect_partial()
    loaded = keras.models.load_model(tmp_path / "naive.keras", compile=False)
    assert distance(naive.model.get_weights(), trainer.model.get_weights()) == 0.0
    assert states(naive.model) != expected
    assert states(loaded) != expected

    ours = make_trainer(tmp_path / "run", ONE, build)
    ours.restore()
    assert states(ours.model) == expected
    straight = train(trainer, stream, 12)
    assert distance(train(ours, stream, 12), straight) == 0.0
    naive.step = 5
    assert distance(train(naive, stream, 12), straight) > 1e-3


def test_a_python_number_traces_the_loop_anew(stream, tmp_path):
    naive = tf.function(lambda num_steps: tf.range(num_steps))
    for num_steps in (1, 2, 3):
        naive(num_steps)
    assert naive.experimental_get_tracing_count() == 3

    trainer = make_trainer(tmp_path, ONE)
    batches = trainer.distribute(stream)
    traces = []
    for num_steps in (1, 2, 3):
        trainer.advance(batches, num_steps, stream.steps_per_epoch)
        traces.append(trainer.num_traces)
    assert traces == [1, 1, 1]


@pytest.mark.slow
def test_xla_cannot_compile_across_replicas(two_replicas):
    """So StepOptions.jit_compile is about what one replica does alone; see test_replicas.py."""
    with two_replicas.scope():
        variable = tf.Variable(tf.ones(1))

    def step() -> tf.Tensor:
        total = tf.distribute.get_replica_context().all_reduce("SUM", variable * 2.0)
        return total

    naive = tf.function(lambda: two_replicas.run(step), jit_compile=True)
    with pytest.raises((tf.errors.OpError, ValueError, RuntimeError)):
        naive()
    inner = tf.function(lambda: variable * 2.0, jit_compile=True)
    doubled = tf.function(
        lambda: two_replicas.run(
            lambda: tf.distribute.get_replica_context().all_reduce("SUM", inner())
        )
    )()
    np.testing.assert_array_equal(two_replicas.experimental_local_results(doubled)[0], [4.0])

"""The loop: equal to fit, and able to stop anywhere and go on as if nothing had happened."""

import contextlib
import errno
import functools
import os
import shutil
import signal
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.data.packing import pack
from tests.training.tiny import (
    NUM_CLASSES,
    STEPS_PER_EPOCH,
    make_model,
    make_stream,
    make_trainer,
    train,
)
from tfcamp.data.pipeline import BatchStream
from tfcamp.errors import Diverged, Interrupted, UserError
from tfcamp.losses import WeightedSum, cross_entropy
from tfcamp.training.callbacks import EarlyStopping
from tfcamp.training.checkpoints import CheckpointFolder
from tfcamp.training.trainer import Progress, Trainer
from tfcamp.training.variables import weights_sha256


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> BatchStream:
    return make_stream(tmp_path_factory.mktemp("rows") / "packed")


@pytest.fixture(scope="module")
def straight(stream, tmp_path_factory) -> str:
    """The hash of the weights after two epochs without a break, dropout on."""
    trainer = make_trainer(tmp_path_factory.mktemp("straight"))
    train(trainer, stream)
    return weights_sha256(trainer.model)


@keras.saving.register_keras_serializable("tests")
class Witness(keras.layers.Layer):
    """Passes its input on and keeps the value of ``training`` of each trace."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.traces = []

    def call(self, inputs, training=None):
        self.traces.append(training)
        return inputs


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_loop_equals_fit(tmp_path, dropout):
    """Embedding, LSTM, regularisation and dropout; five epochs of 10 batches, SGD with momentum.

    Keras's Adam squares the slices of a row one by one: with it, `fit` would be wrong.
    """
    sgd = functools.partial(keras.optimizers.SGD, 0.1, momentum=0.9)
    stream = make_stream(tmp_path / "packed", equal_lengths=True)
    model, other = (make_model(recurrent=True, dropout=dropout) for _ in range(2))
    other.compile(sgd(), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = model.get_weights()
    other.fit(stream.dataset(), epochs=5, steps_per_epoch=10, verbose=0, shuffle=False)

    trainer = Trainer(
        model, sgd(), cross_entropy, checkpoints=CheckpointFolder(tmp_path / "checkpoints")
    )
    assert [progress.step for progress in train(trainer, stream, 5)] == [10, 20, 30, 40, 50]
    for ours, theirs, old in zip(model.get_weights(), other.get_weights(), before, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
        assert np.abs(ours - old).max() > 0.01


def test_rows_that_fill_up_static_batches_change_nothing(stream, tmp_path):
    """Every bucket ends with a small batch; static shapes pad it with rows of weight 0."""
    static = BatchStream(
        stream.examples, stream.batch_size, stream.seed, 8, (4,), static_shapes=True
    )
    trainers = [
        make_trainer(tmp_path / name, model=make_model(recurrent=True, dropout=0.0))
        for name in ("as they come", "static")
    ]
    losses = [
        [progress.loss for progress in train(trainer, batches)]
        for trainer, batches in zip(trainers, (stream, static), strict=True)
    ]
    assert any(not weights.all() for _, _, weights in static.batches(num_epochs=1))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    ours, theirs = (trainer.model.get_weights() for trainer in trainers)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("steps_per_call", [1, 7, 100])
def test_the_number_of_steps_in_a_call_changes_no_bit(stream, straight, tmp_path, steps_per_call):
    trainer = make_trainer(tmp_path, steps_per_call=steps_per_call)
    train(trainer, stream)
    assert weights_sha256(trainer.model) == straight


def test_progress_adds_up(stream, tmp_path):
    """The loss is the mean over all rows of the epoch, though its batches differ in size."""
    trainer = make_trainer(tmp_path, model=make_model(dropout=0.0), learning_rate=1e-20)
    seen: list[Progress] = []
    finished = train(trainer, stream, observers=[seen.append])
    assert [progress.step for progress in seen] == [4, 8, 11, 15, 19, 22]
    assert [progress.epoch for progress in seen] == [1, 1, 1, 2, 2, 2]
    assert {progress.total_steps for progress in seen} == {22}
    assert finished == [seen[2], seen[5]]
    assert all(progress.examples_per_second > 0 for progress in seen)
    labels, logits = stream.examples.labels, trainer.predict(stream)
    expected = float(cross_entropy(labels, logits).mean())
    assert [progress.loss for progress in finished] == pytest.approx([expected] * 2, rel=1e-5)


def test_the_loss_of_an_epoch_that_was_cut_counts_all_of_it(stream, tmp_path):
    whole, cut = (
        make_trainer(tmp_path / name, model=make_model(dropout=0.0)) for name in ("whole", "cut")
    )
    (expected,) = train(whole, stream, num_epochs=1)
    train(cut, stream, num_epochs=1, max_steps=6)
    going_on = make_trainer(tmp_path / "cut", model=make_model(dropout=0.0))
    going_on.restore()
    (progress,) = train(going_on, stream, num_epochs=1)
    assert progress.step == STEPS_PER_EPOCH
    assert progress.loss == pytest.approx(expected.loss, rel=1e-6)


def test_training_learns_and_ends_at_max_steps(stream, tmp_path):
    trainer = make_trainer(tmp_path)
    first, *_, last = train(trainer, stream, 20, max_steps=100)
    assert last.step == last.total_steps == trainer.step == 100
    assert last.loss < 0.5 * first.loss


def test_no_batch_length_traces_anew(stream, tmp_path):
    """Batches have 1 to 8 tokens and up to 8 rows; one trace must serve them all."""
    witness = Witness()
    trainer = make_trainer(tmp_path, model=make_model(extra=witness))
    epochs = trainer.epochs(stream, 3)
    next(epochs)
    trainer.predict(stream)
    traces = list(witness.traces)
    for _ in epochs:
        trainer.predict(stream)
    assert witness.traces == traces


def test_training_trains_and_prediction_predicts(stream, tmp_path):
    witness = Witness()
    trainer = make_trainer(tmp_path, model=make_model(extra=witness))
    witness.traces.clear()
    train(trainer, stream, 1)
    assert set(witness.traces) == {True}
    witness.traces.clear()
    trainer.predict(stream)
    assert set(witness.traces) == {False}


def test_prediction_drops_nothing_and_moves_no_statistics(stream, tmp_path):
    normalization = keras.layers.BatchNormalization()
    trainer = make_trainer(tmp_path, model=make_model(dropout=0.5, extra=normalization))
    seed = next(variable for variable in trainer.model.variables if "seed" in variable.path)

    def state() -> list:
        return [normalization.moving_mean.numpy().tolist(), seed.numpy().tolist()]

    before = state()
    logits = trainer.predict(stream)
    np.testing.assert_array_equal(trainer.predict(stream), logits)
    assert state() == before
    train(trainer, stream, 1)
    assert state()[0] != before[0] and state()[1] != before[1]


@pytest.mark.parametrize("static", [False, True])
def test_predictions_stand_in_the_order_of_the_rows(stream, tmp_path, static):
    """The stream is shuffled and bucketed; each row is compared with the row predicted alone."""
    trainer = make_trainer(tmp_path)
    batches = BatchStream(stream.examples, 16, 9, 8, (4,), static_shapes=static)
    logits = trainer.predict(batches)
    assert logits.shape == (80, NUM_CLASSES)
    for row in range(80):
        inputs, _, _ = stream.examples.read(np.array([row]), 8)
        np.testing.assert_allclose(logits[row], trainer.model(inputs)[0], rtol=1e-4, atol=1e-5)


def test_any_function_of_a_batch_can_be_predicted(stream, tmp_path):
    """Losses of rows instead of all logits, with weights for each token of a row as well."""
    trainer = make_trainer(tmp_path)

    def row_losses(batch) -> dict:
        inputs, labels, weights = batch
        logits = trainer.model(inputs, training=False)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return {"loss": weights * losses, "label": labels}

    batches = BatchStream(stream.examples, 16, 9, 8, (4,), static_shapes=True)
    rows = trainer.predict(batches, row_losses)
    np.testing.assert_array_equal(rows["label"], stream.examples.labels)
    expected = cross_entropy(stream.examples.labels, trainer.predict(stream)).total
    assert rows["loss"].shape == (80,)
    assert float(rows["loss"].sum()) == pytest.approx(float(expected), rel=1e-5)


def test_a_row_is_real_if_any_of_its_tokens_is(stream, tmp_path):
    trainer = make_trainer(tmp_path)
    weights = tf.constant([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    batches = iter(tf.data.Dataset.from_tensors((tf.zeros([3]), tf.constant([5, 6, 7]), weights)))
    assert trainer._inner.predict_next(batches, lambda batch: batch[1]).tolist() == [5, 7]


def test_no_rows_are_a_mistake_of_the_user(tmp_path):
    empty = BatchStream(pack(tmp_path / "packed", []), 8, 0, 8)
    with pytest.raises(UserError, match="training split"):
        train(make_trainer(tmp_path), empty)


def test_every_checkpoint_of_an_epoch_leads_to_the_same_weights(stream, straight, tmp_path):
    trainer = make_trainer(tmp_path / "all", save_seconds=0.0, keep=100)
    finished = train(trainer, stream)
    saved = trainer.checkpoints
    assert saved.steps() == [4, 8, 11, 15, 19, 22]
    for step in saved.steps():
        trainer.checkpoints = CheckpointFolder(tmp_path / str(step))
        shutil.copy(saved.path(step), trainer.checkpoints.folder)
        assert trainer.restore() == []
        assert trainer.step == step
        again = train(trainer, stream)
        assert weights_sha256(trainer.model) == straight
        # The loss of the epoch goes on too: it is that of all its batches.
        expected = [progress for progress in finished if progress.step > step]
        assert [progress.loss for progress in again] == [progress.loss for progress in expected]


def test_another_process_goes_on_with_the_same_bits(stream, straight, tmp_path):
    """The model of the second process has other weights and other dropout seeds at first."""
    with pytest.raises(KeyboardInterrupt):
        train(make_trainer(tmp_path, save_seconds=0.0), stream, observers=[at_step(15, crash)])
    trainer = make_trainer(tmp_path, model=make_model(seed=99))
    trainer.restore()
    assert trainer.step == STEPS_PER_EPOCH
    train(trainer, stream)
    assert weights_sha256(trainer.model) == straight


def at_step(step: int, act: Callable[[], None]) -> Callable[[Progress], None]:
    """An observer that acts once, at a step."""

    def observe(progress: Progress) -> None:
        if progress.step == step:
            act()

    return observe


def crash() -> None:
    raise KeyboardInterrupt


def test_an_evaluation_that_did_not_happen_is_made_up_for(stream, straight, tmp_path):
    """The process died after the last step of an epoch, while it was evaluated."""
    trainer = make_trainer(tmp_path, save_seconds=0.0)
    next(trainer.epochs(stream, 2))
    assert trainer.step == STEPS_PER_EPOCH
    trainer = make_trainer(tmp_path, model=make_model(seed=99))
    trainer.restore()
    assert trainer.step == 8
    assert [progress.epoch for progress in train(trainer, stream)] == [1, 2]
    assert weights_sha256(trainer.model) == straight


def test_a_finished_training_has_nothing_left_and_more_epochs_go_on(stream, straight, tmp_path):
    trainer = make_trainer(tmp_path)
    train(trainer, stream, 1)
    trainer.restore()
    assert train(trainer, stream, 1) == []
    assert [progress.epoch for progress in train(trainer, stream, 2)] == [2]
    assert weights_sha256(trainer.model) == straight


def kill(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_stops_and_the_run_goes_on(stream, straight, tmp_path, number):
    handler = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught:
        train(make_trainer(tmp_path), stream, observers=[at_step(15, kill(number))])
    assert signal.getsignal(number) == handler
    assert (caught.value.signal_number, caught.value.step) == (number, 15)
    assert signal.Signals(number).name in str(caught.value)

    trainer = make_trainer(tmp_path, model=make_model(seed=99))
    assert trainer.restore() == []
    assert trainer.step == 15
    train(trainer, stream)
    assert weights_sha256(trainer.model) == straight


def test_a_signal_at_the_end_of_an_epoch_waits_for_the_evaluation(stream, straight, tmp_path):
    trainer, evaluated = make_trainer(tmp_path), []
    observers = [at_step(STEPS_PER_EPOCH, kill(signal.SIGTERM))]
    with pytest.raises(Interrupted):
        for progress in trainer.epochs(stream, 2, observers=observers):
            trainer.predict(stream)
            evaluated.append(progress.epoch)
    assert evaluated == [1]
    trainer = make_trainer(tmp_path, model=make_model(seed=99))
    trainer.restore()
    assert [progress.epoch for progress in train(trainer, stream)] == [2]
    assert weights_sha256(trainer.model) == straight


def test_a_signal_during_the_evaluation_waits_for_its_end(stream, tmp_path):
    trainer, evaluated = make_trainer(tmp_path), []
    with pytest.raises(Interrupted):
        for progress in trainer.epochs(stream, 2):
            kill(signal.SIGINT)()
            trainer.predict(stream)
            evaluated.append(progress.epoch)
    assert evaluated == [1]
    assert trainer.checkpoints.steps() == [STEPS_PER_EPOCH]


@pytest.fixture
def heeded_interrupt():
    """Ctrl-C as in a terminal: a job that a shell began in the background would ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded_interrupt")
def test_a_signal_during_the_last_evaluation_arrives_late(stream, tmp_path):
    """The owner stops early after it: the loop has no call left to heed it in."""
    trainer = make_trainer(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        with contextlib.closing(trainer.epochs(stream, 3)) as epochs:
            next(epochs)
            kill(signal.SIGINT)()
            trainer.save()
    assert trainer.checkpoints.steps() == [STEPS_PER_EPOCH]


def test_the_second_signal_does_not_wait(stream, tmp_path):
    def insist() -> None:
        kill(signal.SIGINT)()
        kill(signal.SIGINT)()

    with pytest.raises(KeyboardInterrupt):
        train(make_trainer(tmp_path), stream, observers=[at_step(4, insist)])


def impossible_labels_from(step: int, trainers: list[Trainer]) -> Callable[..., WeightedSum]:
    """A loss that is NaN from a step on, because no class has the number 99."""

    def loss(labels, logits, *, weights) -> WeightedSum:
        is_late = trainers[0].optimizer.iterations >= step - 1
        return cross_entropy(tf.where(is_late, 99, labels), logits, weights=weights)

    return loss


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(stream, tmp_path):
    trainers: list[Trainer] = []
    loss = impossible_labels_from(14, trainers)
    trainers.append(make_trainer(tmp_path, loss=loss, save_seconds=0.0, steps_per_call=2))
    with pytest.raises(UserError) as caught:
        train(trainers[0], stream)
    assert "nan at step 14 (epoch 2, batch 3)" in str(caught.value)
    assert "last good checkpoint is that of step 13." in str(caught.value)
    trainer = make_trainer(tmp_path)
    assert trainer.restore() == []
    assert trainer.step == 13
    assert all(np.isfinite(weight).all() for weight in trainer.model.get_weights())
    train(trainer, stream)


def test_a_loss_that_is_not_finite_at_once_has_no_checkpoint_to_name(stream, tmp_path):
    trainers: list[Trainer] = []
    trainers.append(make_trainer(tmp_path, loss=impossible_labels_from(1, trainers)))
    with pytest.raises(UserError, match=r"step 1 \(epoch 1, batch 1\); no checkpoint"):
        train(trainers[0], stream)
    assert trainers[0].step == 1, "no step is taken after the first bad one"


def test_weights_that_overflow_in_the_last_step_of_an_epoch(stream, tmp_path):
    """What is predicted with them is not finite, and no score is made of it."""
    trainer = make_trainer(tmp_path)
    trainer.model.set_weights([np.full_like(it, 1e38) for it in trainer.model.get_weights()])
    with pytest.raises(Diverged, match="what the model predicts is not finite after step 0"):
        trainer.predict(stream)


def test_weights_that_are_not_finite_are_never_saved(stream, tmp_path):
    """The gradient of sqrt at 0 is infinite: a good loss, and weights of NaN after its step."""

    def loss(labels, logits, *, weights) -> WeightedSum:
        total, weight = cross_entropy(labels, logits, weights=weights)
        return WeightedSum(total + tf.sqrt(tf.reduce_sum(0.0 * logits)), weight)

    make_trainer(tmp_path).save()
    trainer = make_trainer(tmp_path, loss=loss)
    with pytest.raises(UserError, match=r"not finite after step 1; .* step 0\."):
        train(trainer, stream, max_steps=1)
    assert trainer.checkpoints.steps() == [0]


def flip_a_byte(content: bytearray) -> bytearray:
    content[len(content) // 2] ^= 1
    return content


@pytest.mark.parametrize("damage", [flip_a_byte, lambda content: content[:-200]])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(
    stream, straight, tmp_path, damage
):
    trainer = make_trainer(tmp_path, save_seconds=0.0)
    train(trainer, stream)
    newest = trainer.checkpoints.path(22)
    newest.write_bytes(damage(bytearray(newest.read_bytes())))
    trainer = make_trainer(tmp_path, model=make_model(seed=99))
    (line,) = trainer.restore()
    assert "step-00000022.npz is damaged" in line
    assert trainer.step == 19
    train(trainer, stream)
    assert weights_sha256(trainer.model) == straight
    assert trainer.restore() == []


def test_a_full_disk_loses_nothing_that_was_saved(stream, straight, tmp_path, monkeypatch):
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    trainer = make_trainer(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        for _ in trainer.epochs(stream, 2):
            trainer.save()
            patch.setattr(os, "fsync", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000011.npz"]
    trainer = make_trainer(tmp_path, model=make_model(seed=99))
    assert trainer.restore() == []
    train(trainer, stream)
    assert weights_sha256(trainer.model) == straight


def test_early_stopping_is_part_of_the_state(stream, tmp_path):
    stopping, restored = EarlyStopping(patience=3), EarlyStopping(patience=3)
    for accuracy in (0.4, 0.6, 0.5):
        stopping.update(accuracy)
    make_trainer(tmp_path, stateful={"stopping": stopping}).save()
    make_trainer(tmp_path, stateful={"stopping": restored}).restore()
    assert (restored.best, restored.waited) == (0.6, 1)


def test_the_best_model_comes_back(stream, tmp_path):
    trainer = make_trainer(tmp_path)
    for progress in trainer.epochs(stream, 3):
        if progress.epoch == 2:
            trainer.save_best()
            best = weights_sha256(trainer.model)
    assert weights_sha256(trainer.model) != best
    another = make_trainer(tmp_path, model=make_model(seed=99))
    assert another.restore_best() == 22
    assert weights_sha256(another.model) == best


def test_a_checkpoint_of_another_model_is_refused(stream, tmp_path):
    make_trainer(tmp_path).save()
    other = make_model(extra=keras.layers.BatchNormalization())
    with pytest.raises(ValueError, match="arrays were saved"):
        make_trainer(tmp_path, model=other).restore()

"""What every model must do, run over the catalogue of all builders."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcamp.models
from tests.models.catalogue import CATALOGUE, DISPATCHERS, Entry

every_model = pytest.mark.parametrize("name", CATALOGUE)
every_model_in_its_tier = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if entry.slow_to_train else ())
        for name, entry in CATALOGUE.items()
    ],
)


def built(name: str) -> tuple[Entry, keras.Model]:
    keras.utils.set_random_seed(7)
    return CATALOGUE[name], CATALOGUE[name].build()


@cache
def untrained(name: str) -> tuple[Entry, keras.Model]:
    """One model for all tests that change nothing about it."""
    return built(name)


@pytest.fixture
def mixed_bfloat16() -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(before)


def loss_and_gradients(entry: Entry, model: keras.Model, training: bool):
    with tf.GradientTape() as tape:
        loss = entry.loss(entry.labels, model(entry.inputs, training=training)).mean()
    return loss, tape.gradient(loss, model.trainable_variables)


def assert_close(outputs, expected, rtol: float = 0.0, atol: float = 0.0) -> None:
    """Compares what two calls of a model gave, array by array."""
    tf.nest.assert_same_structure(outputs, expected)
    pairs = zip(tf.nest.flatten(outputs), tf.nest.flatten(expected), strict=True)
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


def test_every_builder_is_in_the_catalogue() -> None:
    builders = set()
    for info in pkgutil.iter_modules(tfcamp.models.__path__):
        module = importlib.import_module(f"tfcamp.models.{info.name}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("build_") and function.__module__ == module.__name__:
                builders.add(function)
    missing = builders - {entry.builder for entry in CATALOGUE.values()} - set(DISPATCHERS)
    assert not missing, "give each an entry in tests/models/catalogue.py"


@every_model
def test_outputs_are_float32_logits(name: str) -> None:
    """The loss takes logits: after a softmax each row would sum to one."""
    entry, model = untrained(name)
    for logits in tf.nest.flatten(model(entry.inputs)):
        assert logits.dtype == tf.float32
        assert not np.allclose(logits.numpy().sum(-1), 1.0, atol=0.1)


@every_model
def test_eager_equals_graph(name: str) -> None:
    entry, model = untrained(name)
    graph = tf.function(lambda inputs: model(inputs, training=False))
    assert_close(graph(entry.inputs), model(entry.inputs), rtol=1e-5, atol=1e-5)


@every_model
def test_every_trainable_variable_gets_a_gradient(name: str) -> None:
    entry, model = untrained(name)
    _, gradients = loss_and_gradients(entry, model, training=False)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.path
        gradient = tf.convert_to_tensor(gradient).numpy()
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0, variable.path


# Keras 3.15 saves by np.array(variable), which numpy 2 finds old-fashioned.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@every_model
def test_saves_and_loads(name: str, tmp_path: Path) -> None:
    entry, model = untrained(name)
    expected = model(entry.inputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_close(loaded(entry.inputs), expected)

    model.save_weights(tmp_path / "model.weights.h5")
    again = entry.build()
    with pytest.raises(AssertionError):
        assert_close(again(entry.inputs), expected)
    again.load_weights(tmp_path / "model.weights.h5")
    assert_close(again(entry.inputs), expected)


@every_model
def test_bfloat16_is_finite_and_close_to_float32(name: str, mixed_bfloat16: None) -> None:
    entry, model = built(name)
    loss, gradients = loss_and_gradients(entry, model, training=True)
    assert np.isfinite(loss.numpy())
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert variable.dtype == "float32"
        assert np.isfinite(tf.convert_to_tensor(gradient).numpy()).all(), variable.path

    outputs = model(entry.inputs)
    assert all(logits.dtype == tf.float32 for logits in tf.nest.flatten(outputs))
    keras.config.set_dtype_policy("float32")
    exact = entry.build()
    exact.set_weights(model.get_weights())
    expected = exact(entry.inputs)
    largest = max(np.abs(logits).max() for logits in tf.nest.flatten(expected))
    # bfloat16 has 8 bits of mantissa: 0.4 % an operation.
    assert_close(outputs, expected, atol=0.03 * largest + 1e-3)


@every_model_in_its_tier
def test_overfits_four_examples(name: str) -> None:
    entry, model = built(name)
    optimizer = keras.optimizers.Adam(entry.learning_rate)
    optimizer.build(model.trainable_variables)

    @tf.function
    def train() -> None:
        for _ in tf.range(entry.num_steps):
            _, gradients = loss_and_gradients(entry, model, training=True)
            optimizer.apply(gradients)

    train()
    outputs = model(entry.inputs)
    assert float(entry.loss(entry.labels, outputs).mean()) < 0.1
    np.testing.assert_array_equal(entry.decode(outputs), entry.labels)


@pytest.mark.slow
@every_model
def test_compiles_with_xla(name: str) -> None:
    entry, model = untrained(name)
    forward = tf.function(lambda inputs: model(inputs, training=False), jit_compile=True)
    inputs = tf.nest.map_structure(tf.constant, entry.inputs)
    assert_close(forward(inputs), model(inputs), rtol=1e-4, atol=1e-5)

    with_dropout = tf.function(lambda inputs: model(inputs, training=True), jit_compile=True)
    assert all(np.isfinite(logits).all() for logits in tf.nest.flatten(with_dropout(inputs)))

    @tf.function(jit_compile=True)
    def step() -> tuple:
        loss, gradients = loss_and_gradients(entry, model, training=False)
        return loss, [tf.convert_to_tensor(gradient) for gradient in gradients]

    loss, gradients = step()
    expected_loss, expected = loss_and_gradients(entry, model, training=False)
    assert float(loss) == pytest.approx(float(expected_loss), rel=1e-5)
    for ours, eager in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(ours, tf.convert_to_tensor(eager), rtol=1e-3, atol=1e-5)

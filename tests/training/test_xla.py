"""Ready for a TPU: every builder's steps compile for fixed shapes, and what would not is named."""

import functools
import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, cast

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcamp.decoding
from tests.models.catalogue import CATALOGUE, Entry
from tests.training.tiny import NUM_CLASSES, VOCABULARY
from tfcamp.decoding import greedy
from tfcamp.decoding.beam import decode_by_beam
from tfcamp.decoding.ctc import decode_by_beam_search, decode_greedily
from tfcamp.decoding.numbers import decode_numbers
from tfcamp.decoding.single_digits import decode_single_digits
from tfcamp.losses import WeightedSum, cross_entropy
from tfcamp.models.steps import steps_of
from tfcamp.training.optimizers import RowSparseAdam
from tfcamp.training.step import StepOptions, build_train_step
from tfcamp.training.xla import Obstacle, find_xla_obstacles

ON_TPU = StepOptions(clip_norm=1.0, dense_gradients=True)

# Beside the bag of words: one with each kind of part. Compiling to the end takes long.
COMPARED = ["bilstm", "fasttext", "textcnn", "transformer", "resnet", "multihead"]


def every_model(fast: set[str]) -> pytest.MarkDecorator:
    """Runs a test over the catalogue; all but a few of it are slow."""
    return pytest.mark.parametrize(
        "name",
        [pytest.param(name, marks=() if name in fast else pytest.mark.slow) for name in CATALOGUE],
    )


def batch_of(entry: Entry) -> tuple:
    """The catalogue's batch, the last row of it padding."""
    weights = np.ones(len(tf.nest.flatten(entry.labels)[0]), np.float32)
    weights[-1] = 0.0
    return tf.nest.map_structure(tf.constant, (entry.inputs, entry.labels, weights))


def build_step(
    entry: Entry, model: keras.Model, optimizer: keras.optimizers.Optimizer, options: StepOptions
) -> Callable[[tuple], WeightedSum]:
    optimizer.build(model.trainable_variables)
    return build_train_step(model, optimizer, cast(Any, entry.loss), options)


class TestCatalogue:
    @every_model(fast={"bow", "bilstm", "fasttext"})
    def test_the_train_step_compiles(self, name: str) -> None:
        entry = CATALOGUE[name]
        model = entry.build()
        optimizer = RowSparseAdam(keras.optimizers.schedules.CosineDecay(0.01, 100))
        step = build_step(entry, model, optimizer, ON_TPU)
        assert find_xla_obstacles(step, batch_of(entry)) == []

    @every_model(fast={"bow"})
    def test_the_evaluation_step_compiles(self, name: str) -> None:
        entry = CATALOGUE[name]
        model, loss = entry.build(), cast(Any, entry.loss)

        def evaluate(batch: tuple) -> tuple:
            inputs, labels, weights = batch
            outputs = model(inputs, training=False)
            return outputs, loss(labels, outputs, weights=weights)

        assert find_xla_obstacles(evaluate, batch_of(entry)) == []

    @pytest.mark.parametrize(
        "name",
        ["bow", *(pytest.param(name, marks=pytest.mark.slow) for name in COMPARED)],
    )
    def test_compiled_steps_equal_steps_that_are_not(self, name: str) -> None:
        """Forward, backward, the clipping and the moving statistics; XLA rounds differently."""
        entry = CATALOGUE[name]
        weights = []
        for jit_compile in (False, True):
            keras.utils.set_random_seed(3)
            model = without_dropout(entry.build())
            step = build_step(entry, model, keras.optimizers.SGD(0.1), ON_TPU)
            compiled = tf.function(step, jit_compile=jit_compile)
            losses = [float(compiled(batch_of(entry)).mean()) for _ in range(3)]
            weights.append([losses, *model.get_weights()])
        for ours, theirs in zip(*weights, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def without_dropout(model: keras.Model) -> keras.Model:
    """XLA may draw other random numbers than the kernels that it replaces."""
    for layer in model._flatten_layers():
        if isinstance(getattr(layer, "rate", None), float):
            layer.rate = 0.0
    return model


class Spoilt(keras.layers.Layer):
    """Does something to the ids that a TPU cannot do, and hands on ids of the same shape."""

    def __init__(self, spoil: Callable[[tf.Tensor], tf.Tensor]) -> None:
        super().__init__(name="spoilt")
        self._spoil = spoil

    def call(self, ids: Any) -> Any:
        return self._spoil(ids)

    def compute_output_spec(self, ids: Any) -> keras.KerasTensor:
        return keras.KerasTensor(ids.shape, "int32")


def distinct_ids(ids: tf.Tensor) -> tf.Tensor:
    return ids + tf.size(tf.unique(tf.reshape(ids, [-1]))[0])


def real_ids(ids: tf.Tensor) -> tf.Tensor:
    return ids + tf.reduce_max(tf.boolean_mask(ids, ids > 0))


def positions(ids: tf.Tensor) -> tf.Tensor:
    return ids + tf.reduce_max(tf.cast(tf.where(ids > 0), tf.int32))


def words(ids: tf.Tensor) -> tf.Tensor:
    return tf.strings.length(tf.strings.as_string(ids))


def from_python(ids: tf.Tensor) -> tf.Tensor:
    return tf.ensure_shape(tf.numpy_function(lambda x: x, [ids], tf.int32), ids.shape)


def in_a_loop(ids: tf.Tensor) -> tf.Tensor:
    return tf.while_loop(
        lambda step, _: step < 2, lambda step, ids: (step + 1, distinct_ids(ids)), (0, ids)
    )[1]


class TestObstacles:
    """The check must fail where it should: on models with one bad layer."""

    def obstacles(self, spoil: Callable, ids: Any = None) -> list[Obstacle]:
        inputs = keras.Input([None], dtype="int32", name="word")
        embedded = keras.layers.Embedding(VOCABULARY, 6)(Spoilt(spoil)(inputs))
        pooled = keras.layers.GlobalAveragePooling1D()(embedded)
        model = keras.Model({"word": inputs}, keras.layers.Dense(NUM_CLASSES)(pooled), name="model")
        optimizer = keras.optimizers.SGD(0.1)
        optimizer.build(model.trainable_variables)
        step = build_train_step(model, optimizer, cross_entropy, ON_TPU)
        ids = tf.ones([4, 5], tf.int32) if ids is None else ids
        return find_xla_obstacles(step, ({"word": ids}, tf.zeros([4], tf.int32), tf.ones([4])))

    def test_a_sound_model(self) -> None:
        assert self.obstacles(lambda ids: ids + 1) == []

    @pytest.mark.parametrize(
        ("spoil", "operation"),
        [
            (distinct_ids, "Unique"),
            (real_ids, "Where"),
            (positions, "Where"),
            (in_a_loop, "Unique"),
            (from_python, "PyFunc"),
        ],
    )
    def test_an_unknown_dimension_is_named_where_it_comes_from(
        self, spoil: Callable, operation: str
    ) -> None:
        first, *others = self.obstacles(spoil)
        assert first.operation == operation and "model" in first.path and "spoilt" in first.path
        assert "known only when it runs" in first.reason
        assert others == []

    def test_a_string_is_looked_up_in_a_layer(self) -> None:
        initializer = tf.lookup.KeyValueTensorInitializer(["1"], tf.constant([1], tf.int64))
        table = tf.lookup.StaticHashTable(initializer, default_value=0)

        def look_up(ids: tf.Tensor) -> tf.Tensor:
            return tf.cast(table.lookup(tf.strings.as_string(ids)), tf.int32)

        (obstacle,) = self.obstacles(look_up)
        assert obstacle.operation == "LookupTableFindV2" and "spoilt" in obstacle.path
        assert "no strings" in obstacle.reason

    def test_strings_made_of_numbers_and_lost_again(self) -> None:
        (obstacle,) = self.obstacles(words)
        assert obstacle.operation == "AsString" and "spoilt" in obstacle.path
        assert obstacle.reason == "XLA cannot compile it"
        assert str(obstacle) == f"AsString in {obstacle.path}: XLA cannot compile it"

    def test_a_table_of_numbers(self) -> None:
        keys = tf.constant([1], tf.int64)
        initializer = tf.lookup.KeyValueTensorInitializer(keys, keys)
        table = tf.lookup.StaticHashTable(initializer, default_value=0)

        def look_up(ids: tf.Tensor) -> tf.Tensor:
            return tf.cast(table.lookup(tf.cast(ids, tf.int64)), tf.int32)

        assert [obstacle.operation for obstacle in self.obstacles(look_up)] == ["LookupTableFindV2"]

    @pytest.mark.parametrize("shape", [[None, 5], [4, None]])
    def test_a_batch_of_unknown_shape(self, shape: list) -> None:
        obstacles = self.obstacles(lambda ids: ids + 1, tf.TensorSpec(shape, tf.int32))
        assert obstacles[0].operation == "Placeholder"

    def test_an_argument_that_must_be_known_beforehand(self) -> None:
        def reverse(ids: tf.Tensor) -> tf.Tensor:
            return tf.reverse(ids, axis=[tf.random.uniform([], 0, 2, tf.int32)])

        (obstacle,) = self.obstacles(reverse)
        assert obstacle.operation == "ReverseV2" and "spoilt" in obstacle.path
        assert obstacle.reason == "XLA must know its input 1 when it compiles"

    def test_an_assertion_is_left_out(self) -> None:
        def check(ids: tf.Tensor) -> tf.Tensor:
            with tf.control_dependencies([tf.debugging.assert_less(ids, VOCABULARY)]):
                return tf.identity(ids)

        assert self.obstacles(check) == []

    def test_row_sparse_gradients(self) -> None:
        """Why gradients are dense on a TPU."""
        entry = CATALOGUE["bow"]
        step = build_step(entry, entry.build(), RowSparseAdam(0.1), StepOptions(clip_norm=1.0))
        assert "Unique" in {it.operation for it in find_xla_obstacles(step, batch_of(entry))}

    def test_no_variable_changes(self) -> None:
        entry = CATALOGUE["bow"]
        model = entry.build()
        before = [variable.numpy() for variable in model.variables]
        step = build_step(entry, model, keras.optimizers.SGD(0.1), ON_TPU)
        assert find_xla_obstacles(step, batch_of(entry)) == []
        for ours, variable in zip(before, model.variables, strict=True):
            np.testing.assert_array_equal(ours, variable.numpy())


@pytest.mark.parametrize(
    "options",
    [
        StepOptions(dense_gradients=True),
        StepOptions(dense_gradients=True, clip_norm=1.0, accumulate=2),
    ],
    ids=["no clipping", "accumulation"],
)
def test_other_options_compile(options: StepOptions) -> None:
    entry = CATALOGUE["bow"]
    step = build_step(entry, entry.build(), keras.optimizers.Adam(0.1, weight_decay=0.1), options)
    assert find_xla_obstacles(step, batch_of(entry)) == []


FRAMES = tf.TensorSpec([3, 7, 11], tf.float32)
DECODERS: dict[Callable, Any] = {
    decode_greedily: FRAMES,
    decode_by_beam_search: FRAMES,
    decode_numbers: {
        "length": tf.TensorSpec([3, 6], tf.float32),
        "digits": tf.TensorSpec([3, 6, 10], tf.float32),
    },
    decode_single_digits: tf.TensorSpec([3, 10], tf.float32),
}
# What writes a text, token by token, with the options that it needs.
TRANSLATORS = [name for name, entry in CATALOGUE.items() if "source" in entry.inputs]
WRITERS: dict[Callable, Any] = {greedy.decode_greedily: {}, decode_by_beam: {"beam_size": 2}}


def test_every_decoder_compiles() -> None:
    found = {
        function
        for info in pkgutil.iter_modules(tfcamp.decoding.__path__)
        for name, function in vars(importlib.import_module(f"tfcamp.decoding.{info.name}")).items()
        if name.startswith("decode_")
    }
    assert found == {*DECODERS, *WRITERS}, "give each an entry in DECODERS or WRITERS"
    for decode, logits in DECODERS.items():
        assert find_xla_obstacles(decode, logits) == [], decode


@pytest.mark.slow
@pytest.mark.parametrize("decode", WRITERS, ids=lambda decode: decode.__name__)
@pytest.mark.parametrize("name", TRANSLATORS)
def test_every_translator_writes_under_xla(name: str, decode: Callable) -> None:
    steps = steps_of(CATALOGUE[name].build())
    write = functools.partial(decode, steps, max_length=4, **WRITERS[decode])
    assert find_xla_obstacles(write, tf.TensorSpec([2, 5], tf.int32)) == []

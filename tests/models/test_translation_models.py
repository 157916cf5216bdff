"""What every translation model must do: look at nothing it should not see, and write in steps."""

from collections.abc import Callable
from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfcamp.models.seq2seq import Seq2SeqConfig, build_seq2seq
from tfcamp.models.steps import by_source_row, steps_of
from tfcamp.models.text_classifier import TextClassifierConfig, build_text_classifier
from tfcamp.models.transformer import TransformerConfig, build_transformer
from tfcamp.text.vocabulary import BEGIN_ID, END_ID

V = 20


def transformer(**changes) -> keras.Model:
    sizes = {"width": 8, "num_heads": 2, "inner_width": 12, "num_decoder_layers": 2}
    vocabularies = {"source_vocabulary": V, "target_vocabulary": V}
    return build_transformer(TransformerConfig(**{**sizes, **vocabularies, **changes}))


def seq2seq(**changes) -> keras.Model:
    vocabularies = {"source_vocabulary": V, "target_vocabulary": V}
    return build_seq2seq(Seq2SeqConfig(**{"width": 8, **vocabularies, **changes}))


MODELS: dict[str, Callable[[], keras.Model]] = {
    "transformer": lambda: transformer(),
    "transformer, post-norm, learned positions": lambda: transformer(
        norm="post", positions="learned", max_length=12, tie_embeddings="none"
    ),
    "seq2seq, additive": lambda: seq2seq(num_layers=2, tie_embeddings="none"),
    "seq2seq, dot, lstm": lambda: seq2seq(attention="dot", cell="lstm", tie_embeddings="all"),
    "seq2seq, no attention": lambda: seq2seq(attention="none", bidirectional=False),
}
every_model = pytest.mark.parametrize("name", MODELS)
one_of_each_family = pytest.mark.parametrize("name", ["transformer", "seq2seq, additive"])
few_examples = settings(deadline=None, max_examples=10)


@cache
def built(name: str) -> keras.Model:
    keras.utils.set_random_seed(3)
    model = MODELS[name]()
    for variable in model.trainable_variables:  # biases start at zero, where nobody would miss them
        variable.assign(variable.value + 0.1 * keras.random.normal(variable.shape))
    return model


def rows(seed: int, *lengths: int, first: int | None = None) -> np.ndarray:
    """Random ids of given lengths, padded on the right."""
    random = np.random.default_rng(seed)
    ids = np.zeros((len(lengths), max(lengths)), np.int32)
    for row, length in zip(ids, lengths, strict=True):
        row[:length] = random.integers(END_ID + 1, V, length)
    if first is not None:
        ids[:, 0] = first
    return ids


@cache
def compiled(name: str) -> Callable[..., tf.Tensor]:
    ids = tf.TensorSpec([None, None], tf.int32)
    model = built(name)
    return tf.function(
        lambda source, target: model({"source": source, "target": target}, training=False),
        input_signature=[ids, ids],
    )


def logits_of(name: str, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    return compiled(name)(source, target).numpy()


lengths = st.lists(st.integers(1, 6), min_size=1, max_size=3)
seeds = st.integers(0, 2**16)


@every_model
@few_examples
@given(seed=seeds, place=st.integers(1, 5))
def test_a_later_target_token_changes_no_earlier_logit(name: str, seed: int, place: int) -> None:
    source, target = rows(seed, 4, 3), rows(seed + 1, 6, 6, first=BEGIN_ID)
    changed = target.copy()
    changed[:, place] = np.where(target[:, place] == V - 1, V - 2, V - 1)
    before, after = (logits_of(name, source, ids) for ids in (target, changed))
    np.testing.assert_allclose(after[:, :place], before[:, :place], atol=1e-5)
    assert np.abs(after[:, place] - before[:, place]).max() > 1e-3


@every_model
@few_examples
@given(seed=seeds, sizes=lengths, extra=st.integers(1, 4))
def test_padding_changes_no_logit_at_real_positions(
    name: str, seed: int, sizes: list[int], extra: int
) -> None:
    source, target = rows(seed, *sizes), rows(seed + 1, *sizes[::-1], first=BEGIN_ID)
    padded = (np.pad(ids, [(0, 0), (0, extra)]) for ids in (source, target))
    expected, logits = logits_of(name, source, target), logits_of(name, *padded)
    for b, length in enumerate(sizes[::-1]):
        np.testing.assert_allclose(logits[b, :length], expected[b, :length], atol=1e-5)
        # And in a batch of its own, where there is no padding at all.
        alone = logits_of(name, source[b : b + 1, : sizes[b]], target[b : b + 1, :length])
        np.testing.assert_allclose(logits[b, :length], alone[0], atol=1e-5)


@every_model
@few_examples
@given(seed=seeds, sizes=lengths, data=st.data())
def test_swapping_rows_swaps_outputs(
    name: str, seed: int, sizes: list[int], data: st.DataObject
) -> None:
    source, target = rows(seed, *sizes), rows(seed + 1, *sizes[::-1], first=BEGIN_ID)
    order = data.draw(st.permutations(range(len(sizes))))
    expected = logits_of(name, source, target)[order]
    swapped = logits_of(name, source[order], target[order])
    np.testing.assert_allclose(swapped, expected, atol=1e-5)


@every_model
def test_every_source_token_can_be_felt(name: str) -> None:
    source, target = rows(1, 5), rows(2, 3, first=BEGIN_ID)
    before = logits_of(name, source, target)
    for place in range(5):
        changed = source.copy()
        changed[:, place] = END_ID
        assert np.abs(logits_of(name, changed, target) - before).max() > 1e-4


@every_model
def test_an_empty_source_is_finite(name: str) -> None:
    """A row that is all padding: no softmax and no recurrent kernel may be left with nothing."""
    source, target = rows(1, 4, 4), rows(2, 3, 3, first=BEGIN_ID)
    source[1] = 0
    logits = logits_of(name, source, target)
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(logits[:1], logits_of(name, source[:1], target[:1]), atol=1e-5)


@every_model
def test_steps_give_the_logits_of_the_model(name: str) -> None:
    """At every position, also after a beam search has exchanged hypotheses of a row."""
    max_length, num_hypotheses, random = 6, 3, np.random.default_rng(0)
    steps = steps_of(built(name))
    step = tf.function(steps.next)
    source = rows(1, 5, 2)
    memory, cache = steps.begin(tf.constant(source), max_length)
    cache = tf.nest.map_structure(lambda x: tf.repeat(x, num_hypotheses, axis=0), cache)
    sources = np.repeat(source, num_hypotheses, axis=0)
    written = np.full((len(sources), 1), BEGIN_ID, np.int32)
    for position in range(max_length):
        logits, cache = step(tf.constant(written[:, -1]), tf.constant(position), memory, cache)
        expected = logits_of(name, sources, written)[:, -1]
        np.testing.assert_allclose(logits, expected, atol=1e-5)
        # Each hypothesis goes on from any one of the same row.
        first = np.arange(len(sources)) // num_hypotheses * num_hypotheses
        parents = first + random.integers(0, num_hypotheses, len(sources))
        cache = tf.nest.map_structure(lambda x: tf.gather(x, parents), cache)  # noqa: B023
        ids = random.integers(1, V, (len(sources), 1)).astype(np.int32)
        written = np.concatenate([written[parents], ids], axis=1)


def last_logits(name: str, source: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """Writes the three tokens of 3 hypotheses for each of two rows, in a loop."""
    steps = steps_of(built(name))
    memory, cache = steps.begin(source, 4)
    cache = tf.nest.map_structure(lambda x: tf.repeat(x, 3, axis=0), cache)

    def write(position, cache, logits):
        logits, cache = steps.next(ids[:, position], position, memory, cache)
        assert logits.shape == (6, V)
        assert all(it.shape.is_fully_defined() for it in tf.nest.flatten((memory, cache)))
        return position + 1, cache, logits

    start = (tf.constant(0), cache, tf.zeros([6, V]))
    return tf.while_loop(lambda position, *_: position < 3, write, start)[2]


def check_the_loop(name: str, **options) -> None:
    source, ids = rows(1, 4, 2), rows(2, *[3] * 6, first=BEGIN_ID)
    expected = logits_of(name, np.repeat(source, 3, axis=0), ids)[:, -1]
    loop = tf.function(lambda source, ids: last_logits(name, source, ids), **options)
    np.testing.assert_allclose(loop(tf.constant(source), tf.constant(ids)), expected, atol=1e-5)


@one_of_each_family
def test_a_loop_of_steps_has_static_shapes(name: str) -> None:
    check_the_loop(name)


@pytest.mark.slow
@every_model
def test_a_loop_of_steps_compiles_with_xla(name: str) -> None:
    check_the_loop(name, jit_compile=True)


# Keras 3.15 saves by np.array(variable), which numpy 2 finds old-fashioned.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@one_of_each_family
def test_steps_of_a_loaded_model(name: str, tmp_path) -> None:
    built(name).save(tmp_path / "model.keras")
    steps = steps_of(keras.saving.load_model(tmp_path / "model.keras"))
    source = rows(1, 4, 2)
    memory, cache = steps.begin(tf.constant(source), 1)
    logits, _ = steps.next(tf.fill([2], BEGIN_ID), tf.constant(0), memory, cache)
    target = np.full((2, 1), BEGIN_ID, np.int32)
    np.testing.assert_allclose(logits, logits_of(name, source, target)[:, 0], atol=1e-5)


def test_steps_follow_the_weights() -> None:
    """They share the layers, so training goes on under them."""
    model = transformer()
    steps = steps_of(model)
    source, target = rows(1, 3), np.full((1, 1), BEGIN_ID, np.int32)
    for variable in model.trainable_variables:
        variable.assign(variable.value + 0.1)
    memory, cache = steps.begin(tf.constant(source), 1)
    logits, _ = steps.next(tf.constant([BEGIN_ID]), tf.constant(0), memory, cache)
    expected = model({"source": source, "target": target})[:, 0]
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_neighbours_share_a_source_row() -> None:
    states = tf.reshape(tf.range(12.0), [6, 1, 2])
    grouped = by_source_row(states, tf.ones([2, 5], tf.bool))
    np.testing.assert_array_equal(grouped[1], [[6, 7], [8, 9], [10, 11]])
    assert by_source_row(states[:0], tf.ones([0, 5], tf.bool)).shape == (0, 0, 2)


@pytest.mark.parametrize("name", ["bow", "transformer"])
def test_a_classifier_has_no_steps(name: str) -> None:
    config = TextClassifierConfig(streams={"word": 9}, num_classes=2, embedding_dim=4, width=4)
    with pytest.raises(ValueError, match=rf"writes a target, got '{name}' of \['word'\]"):
        steps_of(build_text_classifier(name, config))

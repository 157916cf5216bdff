"""Greedy decoding against a loop in plain Python, alone and in company, compiled and not."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.decoding.toys import (
    FIRST_WORD,
    ToyModel,
    normalised,
    spelling_steps,
    table_steps,
    texts_of,
)
from tfcamp.decoding.greedy import decode_greedily
from tfcamp.text.vocabulary import BEGIN_ID, END_ID, PADDING_ID, UNKNOWN_ID
from tfcamp.training.xla import find_xla_obstacles

SOURCE = np.arange(5, dtype=np.int32)[:, None]


def likeliest_text(model: ToyModel, source: int, limit: int) -> tuple[int, ...]:
    text: tuple[int, ...] = ()
    while len(text) < limit - 1 and END_ID not in text:
        row = model.log_probabilities(source, text)[-1]
        text += (END_ID + int(row[END_ID:].argmax()),)
    return text if END_ID in text else (*text, END_ID)


def test_spells_what_the_model_is_sure_of() -> None:
    words = ["hello", "", "a", "goodbye"]
    found = decode_greedily(spelling_steps(words, 10), np.zeros((4, 1), np.int32), max_length=10)
    assert ["".join(map(chr, text[:-1])) for text in texts_of(found.ids)] == words
    assert found.ids.shape == (4, 1, 10) and found.ids.dtype == tf.int32
    np.testing.assert_array_equal(found.ids[1, 0], [END_ID] + [PADDING_ID] * 9)
    np.testing.assert_allclose(found.log_probability, 0, atol=1e-5)


def test_by_hand() -> None:
    a, b = FIRST_WORD, FIRST_WORD + 1
    table = {BEGIN_ID: {a: 0.6, b: 0.4}, a: {b: 0.5, END_ID: 0.3, a: 0.2}, b: {END_ID: 0.9, a: 0.1}}
    found = decode_greedily(table_steps(table, 6), [[0]], max_length=5)
    assert texts_of(found.ids) == [(a, b, END_ID)]
    assert np.exp(found.log_probability[0, 0]) == pytest.approx(0.6 * 0.5 * 0.9)
    # Three tokens, the end counts: (5 + 3) / 6.
    assert float(found.score[0, 0]) == pytest.approx(np.log(0.27) / (8 / 6))


@settings(max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 5), st.integers(1, 6), st.sampled_from([0.0, 0.6, 1.0]))
def test_equals_plain_python(seed: int, num_words: int, max_length: int, alpha: float) -> None:
    model = ToyModel(seed, num_words=num_words)
    found = decode_greedily(model.steps(), SOURCE, max_length=max_length, length_penalty=alpha)
    for i, text in enumerate(texts_of(found.ids)):
        assert text == likeliest_text(model, i, max_length)
        expected = model.log_probability(i, text)
        assert float(found.log_probability[i, 0]) == pytest.approx(expected, abs=1e-4)
        score = normalised(expected, len(text), alpha)
        assert float(found.score[i, 0]) == pytest.approx(score, abs=1e-4)


def test_each_row_keeps_to_its_limit() -> None:
    model = ToyModel(0, num_words=30)
    limits = np.array([1, 2, 4, 9, -3])
    found = decode_greedily(model.steps(), SOURCE, max_length=6, limits=limits)
    texts = texts_of(found.ids)
    assert texts == [likeliest_text(model, i, n) for i, n in enumerate([1, 2, 4, 6, 1])]
    assert len(texts[2]) == 4  # the limit mattered
    alone = decode_greedily(model.steps(), SOURCE, max_length=6, limits=2)
    assert texts_of(alone.ids) == [likeliest_text(model, i, 2) for i in range(5)]


def test_what_is_no_word_is_never_written() -> None:
    """Though the model wants nothing else; and what it may write keeps its small probability."""
    row = {PADDING_ID: 0.4, UNKNOWN_ID: 0.3, BEGIN_ID: 0.2, FIRST_WORD: 0.07, END_ID: 0.03}
    steps = table_steps(dict.fromkeys((UNKNOWN_ID, BEGIN_ID, FIRST_WORD), row), 5)
    found = decode_greedily(steps, [[0]], max_length=3)
    assert texts_of(found.ids) == [(FIRST_WORD, FIRST_WORD, END_ID)]
    assert np.exp(found.log_probability[0, 0]) == pytest.approx(0.07 * 0.07 * 0.03)
    found = decode_greedily(steps, [[0]], max_length=3, allow_unknown=True)
    assert texts_of(found.ids) == [(UNKNOWN_ID, UNKNOWN_ID, END_ID)]


def test_rows_do_not_depend_on_their_batch() -> None:
    """Neither on how long the others go on: the loop stops for all at once."""
    model = ToyModel(7, num_words=4)
    together = decode_greedily(model.steps(), SOURCE, max_length=12)
    assert len({len(text) for text in texts_of(together.ids)}) > 2
    for i in range(5):
        alone = decode_greedily(model.steps(), SOURCE[i : i + 1], max_length=12)
        np.testing.assert_array_equal(alone.ids[0], together.ids[i])
        np.testing.assert_allclose(alone.score[0], together.score[i], rtol=1e-5)


def test_stops_when_every_row_has_ended() -> None:
    steps = spelling_steps(["ab", "c"], 50)
    calls = []

    def counted(*arguments):
        calls.append(1)
        return steps.next(*arguments)

    decode_greedily(steps._replace(next=counted), np.zeros((2, 1), np.int32), max_length=50)
    assert len(calls) == 3  # a, b, the end


def test_half_precision_logits() -> None:
    model = ToyModel(7, num_words=4)
    steps = model.steps()

    def rounded(*arguments):
        logits, cache = steps.next(*arguments)
        return tf.cast(logits, tf.bfloat16), cache

    found = decode_greedily(steps._replace(next=rounded), SOURCE, max_length=6)
    assert found.score.dtype == tf.float32
    assert np.isfinite(found.score).all()


def test_a_model_that_breaks_leaves_no_trace() -> None:
    """A row of NaN ends with a score that is a number, while its neighbours have theirs."""
    steps = ToyModel(7, num_words=4).steps()

    def broken(*arguments):
        logits, cache = steps.next(*arguments)
        return tf.where(tf.range(5)[:, None] == 2, np.nan, logits), cache

    found = decode_greedily(steps._replace(next=broken), SOURCE, max_length=6)
    expected = decode_greedily(steps, SOURCE, max_length=6)
    assert np.isfinite(found.score).all() and found.score[2, 0] < -1e20
    for i in (0, 1, 3, 4):
        np.testing.assert_array_equal(found.ids[i], expected.ids[i])


def test_graph_and_xla_equal_eager() -> None:
    steps = ToyModel(7, num_words=4).steps()

    def decode(source):
        return decode_greedily(steps, source, max_length=7, limits=[3, 7, 7, 5, 7])

    source = tf.constant(SOURCE)
    expected = decode(source)
    for jit in (False, True):
        found = tf.function(decode, jit_compile=jit)(source)
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_allclose(found.score, expected.score, rtol=1e-5)
    assert find_xla_obstacles(decode, source) == []


def test_in_a_saved_model_with_any_batch_size(tmp_path: Path) -> None:
    steps = ToyModel(7, num_words=4).steps()
    module = tf.Module()
    module.decode = tf.function(
        lambda source: decode_greedily(steps, source, max_length=7)._asdict(),
        input_signature=[tf.TensorSpec([None, None], tf.int32)],
    )
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    for batch in (3, 1, 0):
        source = SOURCE[:batch]
        found = loaded.decode(tf.constant(source))
        assert found["ids"].shape == (batch, 1, 7)
        if batch:
            expected = decode_greedily(steps, source, max_length=7)
            np.testing.assert_array_equal(found["ids"], expected.ids)


def test_mistakes_are_refused() -> None:
    steps = table_steps({}, 5)
    with pytest.raises(ValueError, match="max_length must be at least 1, got 0"):
        decode_greedily(steps, [[0]], max_length=0)
    with pytest.raises(ValueError, match=r"length_penalty must be at least 0, got -0\.5"):
        decode_greedily(steps, [[0]], max_length=3, length_penalty=-0.5)

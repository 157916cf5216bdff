"""Beam search against every text there is, a search in plain Python, and inside a SavedModel."""

from pathlib import Path
from typing import Any

import keras
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
from tfcamp.decoding.beam import decode_by_beam
from tfcamp.decoding.greedy import decode_greedily
from tfcamp.decoding.hypotheses import LOG_ZERO, Hypotheses
from tfcamp.models.seq2seq import Seq2SeqConfig, build_seq2seq
from tfcamp.models.steps import steps_of
from tfcamp.models.transformer import TransformerConfig, build_transformer
from tfcamp.text.vocabulary import BEGIN_ID, END_ID, PADDING_ID, UNKNOWN_ID
from tfcamp.training.xla import find_xla_obstacles

SOURCE = np.arange(4, dtype=np.int32)[:, None]
A, B, C = FIRST_WORD, FIRST_WORD + 1, FIRST_WORD + 2
ALPHAS = [0.0, 0.6, 1.0, 2.0]


def best_text(found: Hypotheses, row: int = 0) -> tuple[int, ...]:
    return texts_of(found.ids[row])[0]


@settings(max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 3), st.integers(1, 4), st.sampled_from(ALPHAS))
def test_a_beam_that_drops_nothing_is_exhaustive(
    seed: int, num_words: int, max_length: int, alpha: float
) -> None:
    """Not only the best: every text, in order, with its probability and score."""
    model = ToyModel(seed, num_words=num_words)
    every = list(model.every_text(max_length))
    beam_size = len(every) + 2
    found = decode_by_beam(
        model.steps(), SOURCE, beam_size=beam_size, max_length=max_length, length_penalty=alpha
    )
    for i in range(len(SOURCE)):
        texts = texts_of(found.ids[i])
        assert sorted(texts[:-2]) == sorted(every)  # none twice
        expected = [model.log_probability(i, text) for text in texts[:-2]]
        np.testing.assert_allclose(found.log_probability[i, :-2], expected, atol=1e-4)
        scores = [
            normalised(log_probability, len(text), alpha)
            for log_probability, text in zip(expected, texts, strict=False)
        ]
        np.testing.assert_allclose(found.score[i, :-2], scores, atol=1e-4)
        assert (np.diff(found.score[i]) <= 0).all()
        # There are no more texts than that.
        assert not np.any(found.ids[i, -2:])
        np.testing.assert_array_equal(found.score[i, -2:], np.float32(LOG_ZERO))


@settings(max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 4), st.integers(2, 40), st.sampled_from(ALPHAS))
def test_equals_a_search_without_an_early_stop(
    seed: int, beam_size: int, num_words: int, alpha: float
) -> None:
    model = ToyModel(seed, num_words=num_words)
    found = decode_by_beam(
        model.steps(), SOURCE, beam_size=beam_size, max_length=8, length_penalty=alpha
    )
    for i in range(len(SOURCE)):
        expected = model.search(i, beam_size, 8, alpha)
        assert texts_of(found.ids[i]) == expected
        log_probabilities = [model.log_probability(i, text) for text in expected]
        np.testing.assert_allclose(found.log_probability[i], log_probabilities, atol=1e-4)


@settings(max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 8), st.sampled_from(ALPHAS))
def test_a_beam_of_one_is_greedy(seed: int, num_words: int, max_length: int, alpha: float) -> None:
    steps = ToyModel(seed, num_words=num_words).steps()
    options: dict[str, Any] = {
        "max_length": max_length,
        "length_penalty": alpha,
        "limits": [1, 8, 3, 6],
    }
    greedy = decode_greedily(steps, SOURCE, **options)
    beam = decode_by_beam(steps, SOURCE, beam_size=1, **options)
    np.testing.assert_array_equal(beam.ids, greedy.ids)
    np.testing.assert_allclose(beam.score, greedy.score, rtol=1e-5)


def test_greedy_text_need_not_be_the_best() -> None:
    table = {
        BEGIN_ID: {A: 0.55, B: 0.45},
        A: {A: 0.4, B: 0.3, END_ID: 0.3},
        B: {END_ID: 0.9, A: 0.1},
    }
    steps = table_steps(table, 6)
    assert best_text(decode_greedily(steps, [[0]], max_length=3)) == (A, A, END_ID)
    found = decode_by_beam(steps, [[0]], beam_size=2, max_length=3, length_penalty=0.0)
    assert best_text(found) == (B, END_ID)
    assert np.exp(found.log_probability[0, 0]) == pytest.approx(0.45 * 0.9)


def test_an_ended_text_is_kept_while_better_beginnings_go_on() -> None:
    """Three beginnings stay ahead of it until the limit, where all of them end badly."""
    table = {
        BEGIN_ID: {A: 0.2, B: 0.8},
        A: {END_ID: 0.9, C: 0.1},
        B: {A + 3: 0.5, C: 0.5},
        A + 3: {B: 0.5, C: 0.499, END_ID: 0.001},
        C: {A + 3: 0.5, C: 0.499, END_ID: 0.001},
    }
    steps = table_steps(table, 8)
    found = decode_by_beam(steps, [[0]], beam_size=3, max_length=4, length_penalty=0.0)
    assert best_text(found) == (A, END_ID)
    assert np.exp(found.log_probability[0, 0]) == pytest.approx(0.18)


def test_the_search_does_not_stop_at_the_first_text_that_ends() -> None:
    table = {
        BEGIN_ID: {END_ID: 0.3, A: 0.7},
        A: {B: 0.99, END_ID: 0.01},
        B: {C: 0.99, END_ID: 0.01},
        C: {END_ID: 0.99, A: 0.01},
    }
    found = decode_by_beam(table_steps(table, 7), [[0]], beam_size=2, max_length=8)
    assert best_text(found) == (A, B, C, END_ID)


def test_a_greater_penalty_prefers_longer_texts() -> None:
    table = {BEGIN_ID: {END_ID: 0.5, A: 0.5}, A: {B: 0.9, A: 0.1}, B: {END_ID: 0.9, A: 0.1}}
    steps = table_steps(table, 6)
    texts = [
        best_text(
            decode_by_beam(steps, [[0]], beam_size=2, max_length=5, length_penalty=length_penalty)
        )
        for length_penalty in (0.0, 1.0)
    ]
    assert texts == [(END_ID,), (A, B, END_ID)]


def test_the_best_of_a_shorter_list_is_the_same() -> None:
    model = ToyModel(5, num_words=20)
    every = decode_by_beam(model.steps(), SOURCE, beam_size=4, max_length=8)
    for num_best in (1, 3):
        found = decode_by_beam(model.steps(), SOURCE, beam_size=4, max_length=8, num_best=num_best)
        for values, expected in zip(found, every, strict=True):
            np.testing.assert_array_equal(values, expected[:, :num_best])


@pytest.mark.parametrize("beam_size", [1, 3])
def test_each_row_keeps_to_its_limit(beam_size: int) -> None:
    model = ToyModel(0, num_words=30)
    found = decode_by_beam(
        model.steps(), SOURCE, beam_size=beam_size, max_length=6, limits=[1, 3, 9, -2]
    )
    for i, limit in enumerate([1, 3, 6, 1]):
        expected = model.search(i, beam_size, limit, 1.0)
        assert texts_of(found.ids[i])[: len(expected)] == expected
        assert max(map(len, expected)) == limit  # the limit mattered
        assert not np.any(found.ids[i, len(expected) :])


def test_what_is_no_word_is_never_written() -> None:
    row = {PADDING_ID: 0.4, UNKNOWN_ID: 0.3, BEGIN_ID: 0.2, A: 0.07, END_ID: 0.03}
    steps = table_steps(dict.fromkeys(range(5), row), 5)
    found = decode_by_beam(steps, [[0]], beam_size=8, max_length=3)
    assert set(np.ravel(found.ids)) == {PADDING_ID, END_ID, A}
    assert texts_of(found.ids[0])[3:] == [()] * 5  # there are three
    found = decode_by_beam(steps, [[0]], beam_size=8, max_length=3, allow_unknown=True)
    assert set(np.ravel(found.ids)) == {PADDING_ID, UNKNOWN_ID, END_ID, A}
    assert (UNKNOWN_ID, UNKNOWN_ID, END_ID) in texts_of(found.ids)


def test_spells_what_the_model_is_sure_of() -> None:
    words = ["hello", "", "a", "goodbye"]
    found = decode_by_beam(
        spelling_steps(words, 10), np.zeros((4, 1), np.int32), beam_size=3, max_length=10
    )
    assert ["".join(map(chr, best_text(found, i)[:-1])) for i in range(4)] == words
    np.testing.assert_allclose(found.log_probability[:, 0], 0, atol=1e-5)


def test_rows_do_not_depend_on_their_batch() -> None:
    """Neither on how long the others are searched: the loop stops for all at once."""
    model = ToyModel(1, num_words=4, scale=6)
    together = decode_by_beam(model.steps(), SOURCE, beam_size=3, max_length=16)
    lengths = []
    for i in range(len(SOURCE)):
        steps, calls = count_calls(model.steps())
        alone = decode_by_beam(steps, SOURCE[i : i + 1], beam_size=3, max_length=16)
        np.testing.assert_array_equal(alone.ids[0], together.ids[i])
        np.testing.assert_allclose(alone.score[0], together.score[i], rtol=1e-5)
        lengths.append(len(calls))
    assert len(set(lengths)) > 1 and min(lengths) < 16


def test_swapping_rows_swaps_results() -> None:
    model = ToyModel(5, num_words=20)
    order = [2, 0, 3, 1]
    found = decode_by_beam(model.steps(), SOURCE, beam_size=3, max_length=8)
    swapped = decode_by_beam(model.steps(), SOURCE[order], beam_size=3, max_length=8)
    for values, expected in zip(swapped, found, strict=True):
        np.testing.assert_array_equal(values, np.asarray(expected)[order])


def test_stops_when_nothing_can_become_better() -> None:
    steps, calls = count_calls(spelling_steps(["ab", "c"], 50))
    decode_by_beam(steps, np.zeros((2, 1), np.int32), beam_size=3, max_length=50, num_best=1)
    assert len(calls) == 3  # a, b, the end


def count_calls(steps):
    calls = []

    def counted(*arguments):
        calls.append(1)
        return steps.next(*arguments)

    return steps._replace(next=counted), calls


def test_impossible_tokens_and_a_model_that_breaks_leave_no_trace() -> None:
    """-inf is no NaN; and a row of NaN has no texts, while its neighbours have theirs."""
    steps = ToyModel(5, num_words=4).steps()

    def broken(*arguments):
        logits, cache = steps.next(*arguments)
        row = tf.range(12)[:, None] // 3
        logits = tf.where((row == 1) & (tf.range(8) == A), -np.inf, logits)
        return tf.where(row == 2, np.nan, logits), cache

    options: dict[str, Any] = {"beam_size": 3, "max_length": 6}
    found = decode_by_beam(steps._replace(next=broken), SOURCE, **options)
    expected = decode_by_beam(steps, SOURCE, **options)
    assert all(np.isfinite(values).all() for values in found[1:])
    assert A not in np.ravel(found.ids[1]) and np.all(found.log_probability[1] > -100)
    assert not np.any(found.ids[2])
    for i in (0, 3):
        np.testing.assert_array_equal(found.ids[i], expected.ids[i])


def test_graph_and_xla_equal_eager() -> None:
    steps = ToyModel(5, num_words=20).steps()

    def decode(source):
        return decode_by_beam(steps, source, beam_size=3, max_length=7, limits=[3, 7, 5, 7])

    source = tf.constant(SOURCE)
    expected = decode(source)
    for jit in (False, True):
        found = tf.function(decode, jit_compile=jit)(source)
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_allclose(found.log_probability, expected.log_probability, rtol=1e-5)
        np.testing.assert_allclose(found.score, expected.score, rtol=1e-5)
    assert find_xla_obstacles(decode, source) == []


def test_in_a_saved_model_with_any_batch_size(tmp_path: Path) -> None:
    steps = ToyModel(5, num_words=20).steps()
    options: dict[str, Any] = {"beam_size": 3, "max_length": 7}
    module = tf.Module()
    module.decode = tf.function(
        lambda source: decode_by_beam(steps, source, **options)._asdict(),
        input_signature=[tf.TensorSpec([None, None], tf.int32)],
    )
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    for batch in (3, 1, 0):
        source = SOURCE[:batch]
        found = loaded.decode(tf.constant(source))
        assert found["ids"].shape == (batch, 3, 7)
        if batch:
            expected = decode_by_beam(steps, source, **options)
            np.testing.assert_array_equal(found["ids"], expected.ids)


@pytest.mark.slow
@pytest.mark.parametrize(
    "build",
    [
        lambda sizes: build_transformer(TransformerConfig(**sizes, inner_width=16)),
        lambda sizes: build_seq2seq(Seq2SeqConfig(**sizes)),
    ],
    ids=["transformer", "seq2seq"],
)
def test_scores_are_those_of_the_model_that_is_told_the_text(build) -> None:
    """With what the models cache; the batch and the sources are of any size."""
    keras.utils.set_random_seed(0)
    model = build({"source_vocabulary": 20, "target_vocabulary": 30, "width": 8})
    steps = steps_of(model)
    source = np.array([[9, 4, 3, 0], [5, 6, 7, 3], [3, 0, 0, 0]], np.int32)

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)])
    def decode(source):
        return decode_by_beam(steps, source, beam_size=4, max_length=6)

    found = decode(source)
    for ids, expected in zip(
        np.moveaxis(found.ids.numpy(), 1, 0), found.log_probability.numpy().T, strict=True
    ):
        begun = np.pad(ids[:, :-1], [(0, 0), (1, 0)], constant_values=BEGIN_ID)
        logits = model({"source": source, "target": begun}, training=False)
        each = np.take_along_axis(tf.nn.log_softmax(logits).numpy(), ids[..., None], axis=2)
        log_probability = np.where(ids == PADDING_ID, 0, each[..., 0]).sum(1)
        np.testing.assert_allclose(log_probability, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 0}, "beam_size must be at least 1, got 0"),
        ({"num_best": 0}, r"num_best must be in \[1, 2\], got 0"),
        ({"num_best": 3}, r"num_best must be in \[1, 2\], got 3"),
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
        ({"length_penalty": -1.0}, r"length_penalty must be at least 0, got -1\.0"),
    ],
)
def test_mistakes_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_by_beam(table_steps({}, 5), [[0]], **{"beam_size": 2, "max_length": 3, **options})

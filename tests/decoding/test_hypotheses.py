"""The rules that greedy decoding and beam search share."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfcamp.decoding.hypotheses import (
    LOG_ZERO,
    _largest,
    length_limits,
    length_normalised,
    likeliest_tokens,
)
from tfcamp.text.vocabulary import BEGIN_ID, END_ID, PADDING_ID, UNKNOWN_ID


@settings(max_examples=50)
@given(
    st.integers(1, 200), st.integers(1, 12), st.sampled_from([3, 1000]), st.integers(0, 2**31 - 1)
)
def test_the_largest_of_all_chunks_are_the_largest(
    size: int, count: int, num_values: int, seed: int
) -> None:
    """Also where the size is prime, where there are fewer values, and where many are equal."""
    values = np.random.default_rng(seed).integers(num_values, size=(3, size)).astype(np.float32)
    largest, ids = _largest(tf.constant(values), count)
    expected = -np.sort(-values, axis=1)[:, :count]
    np.testing.assert_array_equal(largest, expected)
    np.testing.assert_array_equal(np.take_along_axis(values, ids.numpy(), axis=1), expected)
    assert all(len(set(row)) == min(count, size) for row in ids.numpy())


@pytest.mark.parametrize("allow_unknown", [False, True])
def test_likeliest_tokens(allow_unknown: bool) -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.full(60, 0.3), size=8)
    probabilities[:, [PADDING_ID, UNKNOWN_ID, BEGIN_ID]] += 1
    probabilities /= probabilities.sum(1, keepdims=True)
    must_end = np.arange(8) % 4 == 3
    ids, log_probabilities = likeliest_tokens(
        np.log(probabilities) + 5, 4, tf.constant(must_end), allow_unknown=allow_unknown
    )
    allowed = probabilities.copy()
    allowed[:, [PADDING_ID, BEGIN_ID]] = 0
    if not allow_unknown:
        allowed[:, UNKNOWN_ID] = 0
    best = (-allowed).argsort(axis=1)[:, :4]
    np.testing.assert_array_equal(ids[~must_end], best[~must_end])
    expected = np.log(np.take_along_axis(probabilities, best, axis=1))
    np.testing.assert_allclose(log_probabilities[~must_end], expected[~must_end], rtol=1e-4)
    np.testing.assert_array_equal(ids[must_end], END_ID)
    ends = np.log(probabilities[must_end, END_ID])
    np.testing.assert_allclose(log_probabilities[must_end][:, 0], ends, rtol=1e-4)
    np.testing.assert_array_equal(log_probabilities[must_end][:, 1:], np.float32(LOG_ZERO))


def test_length_normalised_is_that_of_wu_et_al() -> None:
    log_probabilities = np.array([-6.0, -6.0, -6.0], np.float32)
    for alpha in (0.0, 0.6, 1.0):
        score = length_normalised(log_probabilities, [1, 7, 19], alpha)
        np.testing.assert_allclose(score, [-6.0, -6 / 2**alpha, -6 / 4**alpha], rtol=1e-6)


def test_limits_of_sources() -> None:
    source = np.array([[5] * 20, [5] * 7 + [0] * 13, [END_ID] + [0] * 19, [0] * 20])
    np.testing.assert_array_equal(length_limits(source, 64), [40, 20, 11, 10])
    np.testing.assert_array_equal(length_limits(source, 30), [30, 20, 11, 10])
    np.testing.assert_array_equal(length_limits(source, 64, ratio=2, margin=1), [41, 15, 3, 1])

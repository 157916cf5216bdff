"""Hashed n-grams: against plain Python, the same in every way of running, and well spread."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfcamp.models.ngrams import MODULUS, MULTIPLIER, NGramBuckets


def python_buckets(row: list[int], size: int, num_buckets: int, seed: int) -> list[int]:
    """The documented equation, in integers of any size."""
    buckets = []
    for start in range(len(row)):
        ngram = row[start : start + size]
        if len(ngram) < size or 0 in ngram:
            buckets.append(0)
            continue
        value = 256 * seed + size
        for token in ngram:
            value = (MULTIPLIER * value + token) % MODULUS
        buckets.append(1 + value % num_buckets)
    return buckets


@pytest.mark.parametrize(
    ("size", "seed", "expected"),
    [(1, 0, [291, 292, 293, 0]), (2, 0, [605, 891, 0, 0]), (3, 1, [177, 0, 0, 0])],
)
def test_golden(size: int, seed: int, expected: list[int]) -> None:
    """A model that is stored must find its n-grams again: these numbers may never change."""
    buckets = NGramBuckets(size, 1000, seed)(np.array([[5, 6, 7, 0]], np.int32))
    np.testing.assert_array_equal(buckets, [expected])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(1, 2**31 - 1), max_size=6),
    st.integers(0, 3),
    st.integers(1, 4),
    st.integers(1, 2**31 - 2),
    st.integers(0, 5),
)
def test_equals_python(row, padding, size, num_buckets, seed) -> None:
    row = [*row, *[0] * padding] or [0]
    buckets = NGramBuckets(size, num_buckets, seed)(np.array([row], np.int32))
    np.testing.assert_array_equal(buckets, [python_buckets(row, size, num_buckets, seed)])


def test_graph_and_xla_equal_eager() -> None:
    ids = tf.random.stateless_uniform([8, 12], (1, 2), 1, 50_000, tf.int32)
    layer = NGramBuckets(3, 100_000)
    eager = layer(ids)
    assert eager.dtype == tf.int32
    np.testing.assert_array_equal(tf.function(layer)(ids), eager)
    np.testing.assert_array_equal(tf.function(layer, jit_compile=True)(ids), eager)


@pytest.mark.parametrize("ids", ["a lattice of small ids", "ids at random"])
def test_spreads_at_least_as_well_as_chance(ids: str) -> None:
    """Half as many pairs as buckets fill as many as balls thrown at random would."""
    first, second = np.meshgrid(np.arange(2, 252), np.arange(2, 202))
    pairs = np.stack([first.ravel(), second.ravel()], axis=-1)
    if ids == "ids at random":
        pairs = np.random.default_rng(0).permutation(2_000_000)[:100_000].reshape(-1, 2)
    buckets = np.asarray(NGramBuckets(2, 100_000)(pairs.astype(np.int32)))[:, 0]
    assert len(np.unique(buckets)) / 100_000 > 1 - np.exp(-0.5) - 0.01


def test_order_size_and_stream_matter() -> None:
    pairs = np.array([[3, 4], [4, 3]], np.int32)
    buckets = [
        *NGramBuckets(2, 10**6)(pairs).numpy()[:, 0],
        *NGramBuckets(1, 10**6)(pairs).numpy()[:, 0],
        *NGramBuckets(2, 10**6, seed=1)(pairs).numpy()[:, 0],
    ]
    assert len({*buckets}) == 6


@pytest.mark.parametrize("arguments", [(0, 10), (2, 0), (2, 10, -1)])
def test_mistakes_are_refused(arguments: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        NGramBuckets(*arguments)

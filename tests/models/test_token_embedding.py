"""Token embeddings: looked up, in reverse, and tied."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcamp.models.token_embedding import (
    TokenConfig,
    TokenEmbedding,
    target_embeddings,
    token_embeddings,
)

IDS = np.array([[3, 1, 0], [2, 2, 0]], np.int32)


def test_by_hand() -> None:
    layer = TokenEmbedding(4, 2)
    layer(IDS)
    layer.set_weights([np.array([[0, 0], [1, 2], [3, 4], [5, 6]], np.float32)])
    np.testing.assert_allclose(layer(IDS)[0], np.sqrt(2) * np.array([[5, 6], [1, 2], [0, 0]]))
    logits = layer(np.array([[[1.0, 0.0], [0.0, 10.0]]], np.float32), reverse=True)
    np.testing.assert_allclose(logits, [[[0, 1, 3, 5], [0, 20, 40, 60]]])
    np.testing.assert_allclose(layer(np.array([[1.0, 1.0]], np.float32), reverse=True)[0, 3], 11)


def test_vectors_start_with_length_one() -> None:
    layer = TokenEmbedding(500, 64)
    layer(IDS)
    lengths = np.linalg.norm(layer.embeddings.numpy(), axis=1)
    assert lengths.mean() == pytest.approx(1.0, abs=0.02)


def test_only_the_result_of_the_product_is_float32() -> None:
    layer = TokenEmbedding(500, 8, dtype="mixed_bfloat16")
    states = tf.cast(layer(IDS), tf.bfloat16)
    assert layer(IDS).dtype == tf.bfloat16
    logits = layer(states, reverse=True)
    assert logits.dtype == tf.float32
    np.testing.assert_array_equal(logits, tf.cast(tf.cast(logits, tf.bfloat16), tf.float32))
    assert layer.embeddings.dtype == "float32"


def test_symbolic_shapes() -> None:
    layer = TokenEmbedding(10, 8)
    x = layer(keras.Input((None,), dtype="int32"))
    logits = layer(x, reverse=True)
    assert (x.shape, x.dtype) == ((None, None, 8), "float32")
    assert (logits.shape, logits.dtype) == ((None, None, 10), "float32")


@pytest.mark.parametrize(("tied", "distinct"), [("none", 3), ("target", 2), ("all", 1)])
def test_tied_tables_are_found_again(tied: Any, distinct: int) -> None:
    config = TokenConfig(source_vocabulary=10, target_vocabulary=10, width=8, tie_embeddings=tied)
    tables = token_embeddings(config)
    assert len({id(table) for table in tables}) == distinct
    read, write, score = tables
    source, target = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")
    model = keras.Model([source, target], score(read(source) + write(target), reverse=True))
    found_write, found_score = target_embeddings(model)
    assert found_write is write and found_score is score

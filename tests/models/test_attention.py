"""Attention layers against NumPy, and what a mask must do."""

import keras
import numpy as np
import pytest

from tfcamp.models.attention import (
    AdditiveAttentionPooling,
    MultiHeadAttention,
    masked_softmax,
    with_attention,
)

MASK = np.array([[True, True, True, True], [True, True, False, False]])


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def numpy_softmax(scores: np.ndarray) -> np.ndarray:
    exponents = np.exp(scores - scores.max())
    return exponents / exponents.sum()


def weights_of(layer: keras.Layer) -> dict[str, np.ndarray]:
    """Weights by 'sublayer/name', drawn anew so that biases are not zero."""
    for i, variable in enumerate(layer.weights):
        variable.assign(normal(*variable.shape, seed=i))
    return {"/".join(w.path.split("/")[-2:]): np.asarray(w.value) for w in layer.weights}


def test_masked_softmax_by_hand() -> None:
    shares = masked_softmax(np.log([[1.0, 3.0, 100.0]]), np.array([[True, True, False]]))
    np.testing.assert_allclose(shares, [[0.25, 0.75, 0.0]], rtol=1e-6)
    np.testing.assert_allclose(masked_softmax(np.log([[1.0, 3.0]]), None), [[0.25, 0.75]])
    nothing = masked_softmax(np.array([[5.0, 1.0]]), np.array([[False, False]]))
    np.testing.assert_allclose(nothing, [[0.5, 0.5]])


def test_additive_pooling_equals_numpy() -> None:
    inputs = normal(2, 4, 3)
    layer = AdditiveAttentionPooling(5)
    layer(inputs, mask=MASK)
    w = weights_of(layer)
    pooled = layer(inputs, mask=MASK)
    for row, length, result in zip(inputs, (4, 2), pooled, strict=True):
        states = row[:length]
        hidden = np.tanh(states @ w["hidden/kernel"] + w["hidden/bias"])
        shares = numpy_softmax((hidden @ w["context/kernel"])[:, 0])
        np.testing.assert_allclose(result, shares @ states, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("per_query", [False, True])
def test_multi_head_equals_numpy(per_query: bool) -> None:
    queries, values = normal(2, 3, 6), normal(2, 4, 5, seed=1)
    mask = np.repeat(MASK[:, None], 3, axis=1)
    if per_query:
        mask = mask & np.array([[True] * 4, [True, False, True, True], [True, True, False, False]])
    given = mask if per_query else MASK
    layer = MultiHeadAttention(8, num_heads=2, dropout=0.5)
    layer(queries, values, mask=given)
    w = weights_of(layer)
    attended = layer(queries, values, mask=given)
    for b in range(2):
        query = queries[b] @ w["query/kernel"] + w["query/bias"]
        key = values[b] @ w["key/kernel"]
        value = values[b] @ w["value/kernel"] + w["value/bias"]
        for t in range(3):
            heads = []
            for h in (slice(0, 4), slice(4, 8)):
                look = mask[b, t]
                shares = numpy_softmax(key[look, h] @ query[t, h] / np.sqrt(4))
                heads.append(shares @ value[look, h])
            expected = np.concatenate(heads) @ w["output/kernel"] + w["output/bias"]
            np.testing.assert_allclose(attended[b, t], expected, rtol=1e-4, atol=1e-4)


def test_reading_once_and_looking_is_one_call() -> None:
    """And the shares that come with it are where the queries looked."""
    queries, values = normal(2, 3, 6), normal(2, 4, 6, seed=1)
    layer = MultiHeadAttention(6, num_heads=2)
    expected, expected_shares = layer(queries, values, mask=MASK, return_shares=True)
    attended, shares = layer.attend(queries, *layer.read(values), MASK)
    np.testing.assert_array_equal(attended, expected)
    np.testing.assert_array_equal(shares, expected_shares)
    assert shares.shape == (2, 2, 3, 4)
    np.testing.assert_allclose(np.sum(shares, -1), 1.0, atol=1e-6)
    assert not np.any(shares[1, ..., 2:])
    merged = np.einsum("bhts,bhsd->bthd", shares, layer.read(values)[1]).reshape(2, 3, 6)
    np.testing.assert_allclose(attended, layer.output_projection(merged), atol=1e-5)


def test_a_model_that_attends_to_no_source_has_no_attention() -> None:
    inputs = keras.Input((3, 4))
    model = keras.Model(inputs, MultiHeadAttention(4, num_heads=2)(inputs, inputs), name="reader")
    with pytest.raises(ValueError, match="no layer of model 'reader' attends to a source"):
        with_attention(model)


def test_masked_values_cannot_be_felt() -> None:
    queries, values = normal(2, 3, 6), normal(2, 4, 6, seed=1)
    changed = np.where(MASK[:, :, None], values, 1e3).astype(np.float32)
    layer = MultiHeadAttention(6, num_heads=2)
    np.testing.assert_array_equal(
        layer(queries, values, mask=MASK), layer(queries, changed, mask=MASK)
    )


def test_keys_have_no_bias() -> None:
    layer = MultiHeadAttention(4, num_heads=2)
    layer(normal(1, 2, 4), normal(1, 2, 4))
    paths = [weight.path for weight in layer.weights]
    assert sum(path.endswith("bias") for path in paths) == 3
    assert not any(path.endswith("key/bias") for path in paths)


def test_dropout_only_in_training() -> None:
    queries = normal(1, 5, 4)
    layer = MultiHeadAttention(4, num_heads=2, dropout=0.5)
    still = layer(queries, queries).numpy()
    np.testing.assert_array_equal(layer(queries, queries), still)
    assert not np.array_equal(layer(queries, queries, training=True), still)


def test_no_implicit_mask_is_handed_on() -> None:
    """Keras hangs a mask on what a recurrent layer returns; from here on masks are arguments."""
    states = keras.layers.LSTM(4, return_sequences=True)(normal(2, 4, 3), mask=MASK)
    assert getattr(states, "_keras_mask", None) is not None
    attended = MultiHeadAttention(4, num_heads=2)(states, states, mask=MASK)
    assert getattr(attended, "_keras_mask", None) is None


def test_width_must_divide_into_heads() -> None:
    with pytest.raises(ValueError, match="got 6 and 4"):
        MultiHeadAttention(6, num_heads=4)

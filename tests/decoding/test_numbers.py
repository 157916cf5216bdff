"""The jointly most probable length and digits, by hand and against every number."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfcamp.decoding.numbers import decode_numbers
from tfcamp.losses import number_loss


def random_outputs(seed: int, batch: int = 8, places: int = 3, digits: int = 3):
    rng = np.random.default_rng(seed)
    return {
        "length": rng.normal(scale=2, size=(batch, places)).astype(np.float32),
        "digits": rng.normal(scale=2, size=(batch, places, digits)).astype(np.float32),
    }


def test_likeliest_length_may_be_wrong() -> None:
    """Length 2 is likelier, 0.6 to 0.4, but of the second digit nothing is known: 0.6 / 2 < 0.4."""
    outputs = {
        "length": np.log([[0.4, 0.6]]),
        "digits": [[[0.0, 50.0], [0.0, 0.0]]],
    }
    digits, log_probability = decode_numbers(outputs)
    np.testing.assert_array_equal(digits, [[1, -1]])
    assert np.exp(log_probability[0]) == pytest.approx(0.4)
    outputs["digits"][0][1] = [50.0, 0.0]
    digits, log_probability = decode_numbers(outputs)
    np.testing.assert_array_equal(digits, [[1, 0]])
    assert np.exp(log_probability[0]) == pytest.approx(0.6)


def test_equals_exhaustive_search_of_the_loss() -> None:
    """The answer is the number whose loss is least, and its score is minus that loss."""
    outputs = random_outputs(0)
    digits, log_probability = decode_numbers(outputs)
    assert digits.dtype == tf.int32
    every = [n for length in (1, 2, 3) for n in itertools.product(range(3), repeat=length)]
    labels = np.array([[*n, *[-1] * (3 - len(n))] for n in every], np.int32)
    for i in range(8):
        row = {name: values[i : i + 1] for name, values in outputs.items()}
        losses = [float(number_loss(label[None], row).total) for label in labels]
        best = int(np.argmin(losses))
        np.testing.assert_array_equal(digits[i], labels[best])
        assert float(log_probability[i]) == pytest.approx(-losses[best], rel=1e-4, abs=1e-5)


def test_graph_with_any_batch_size_and_xla_equal_eager() -> None:
    outputs = random_outputs(1)
    expected = decode_numbers(outputs)
    signature = [{"length": tf.TensorSpec([None, 3]), "digits": tf.TensorSpec([None, 3, 3])}]
    for compiled in (
        tf.function(decode_numbers, input_signature=signature),
        tf.function(decode_numbers, jit_compile=True),
    ):
        found = compiled(tf.nest.map_structure(tf.constant, outputs))
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-5)

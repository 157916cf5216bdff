"""Numbers and labels: there and back, in NumPy and in the graph, and what is refused."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfcamp.errors import UserError
from tfcamp.vision.digits import (
    MAX_DIGITS,
    NO_DIGIT,
    check_number,
    join_digits,
    labels_to_number,
    labels_to_numbers,
    number_to_labels,
    numbers_to_labels,
    split_digits,
)

numbers = st.text("0123456789", min_size=1, max_size=MAX_DIGITS)


def test_by_hand() -> None:
    assert (MAX_DIGITS, NO_DIGIT) == (6, -1)
    labels = number_to_labels("1999")
    assert labels.dtype == np.int32
    assert labels.tolist() == [1, 9, 9, 9, -1, -1]
    assert number_to_labels("123456").tolist() == [1, 2, 3, 4, 5, 6]


@given(numbers)
def test_there_and_back(number: str) -> None:
    assert labels_to_number(number_to_labels(number)) == number


@settings(deadline=None)
@given(st.lists(numbers, min_size=1, max_size=5))
def test_the_graph_does_the_same(batch: list[str]) -> None:
    labels = numbers_to_labels(batch)
    assert labels_to_numbers(labels) == batch
    np.testing.assert_array_equal(split_digits(tf.constant(batch)), labels)
    assert [number.decode() for number in join_digits(tf.constant(labels)).numpy()] == batch


def test_no_rows_are_no_numbers() -> None:
    assert numbers_to_labels([]).shape == (0, MAX_DIGITS)
    assert split_digits(tf.constant([], tf.string)).shape == (0, MAX_DIGITS)
    assert join_digits(tf.zeros([0, MAX_DIGITS], tf.int32)).shape == (0,)


def test_inside_a_compiled_function() -> None:
    joined = tf.function(join_digits, input_signature=[tf.TensorSpec([None, 6], tf.int32)])
    assert joined(tf.constant(numbers_to_labels(["007"]))).numpy().tolist() == [b"007"]
    rows = tf.data.Dataset.from_tensors(["12", "3"]).map(split_digits)
    assert rows.element_spec.shape == (None, MAX_DIGITS)


@pytest.mark.parametrize(
    ("number", "told"),
    [
        ("1234567", "number '1234567' has 7 digits, expected at most 6"),
        ("", "expected a number of 1 to 6 digits, got an empty one"),
        ("12a", "number '12a' holds something else than the digits 0 to 9"),
        ("-1", "holds something else"),
        ("１２", "holds something else"),
        ("1" * 1000, "has 1000 digits"),
    ],
)
def test_other_numbers_are_refused(number: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        check_number(number, "train.json: 000001.png")
    message = str(caught.value)
    assert message.startswith("train.json: 000001.png: ") and told in message
    assert len(message) < 300
    with pytest.raises(ValueError, match="1 to 6 of the digits"):
        number_to_labels(number)

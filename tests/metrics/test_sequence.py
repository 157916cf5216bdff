"""Number metrics: by hand, against a plain edit distance, and in any batching."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfcamp.metrics.sequence import GAP, NumberMetrics, NumberReport, align
from tfcamp.vision.digits import number_to_labels

Pairs = list[tuple[str, str]]
numbers = st.text("0123", max_size=6)
pairs_of_numbers = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12)


def labels_of(texts) -> np.ndarray:
    """Labels of numbers that may be empty, as what a model reads may be."""
    empty = np.full(6, -1, np.int32)
    return np.stack([number_to_labels(text) if text else empty for text in texts])


def report_on(pairs: Pairs) -> NumberReport:
    metrics = NumberMetrics()
    metrics.update(labels_of(t for t, _ in pairs), labels_of(r for _, r in pairs))
    return metrics.result()


def edit_distance(first: str, second: str) -> int:
    if not first or not second:
        return len(first) + len(second)
    return min(
        edit_distance(first[1:], second[1:]) + (first[0] != second[0]),
        edit_distance(first[1:], second) + 1,
        edit_distance(first, second[1:]) + 1,
    )


def test_by_hand() -> None:
    report = report_on([("12", "12"), ("7", "1"), ("345", "35"), ("9", "99"), ("100", "100")])
    assert report.accuracy == 2 / 5
    assert report.edit_distance == 3 / 5
    # Places: 2, 1, 3, 2, 3; those that agree: 2, 0, 2, 1, 3.
    assert report.digit_accuracy == 8 / 11
    assert report.length_accuracy == 3 / 5
    assert report.by_length == ((1, 0.0, 0.5, 2), (2, 1.0, 1.0, 1), (3, 0.5, 0.5, 2))
    expected = np.zeros((11, 11), int)
    for place in [(1, 1), (2, 2), (7, 1), (3, 3), (4, GAP), (5, 5), (9, 9), (GAP, 9)]:
        expected[place] += 1
    expected[1, 1] += 1
    expected[0, 0] += 2
    np.testing.assert_array_equal(report.confusion, expected)
    assert report.confusion.dtype == np.int64


def test_after_a_missing_digit_the_others_count() -> None:
    """Place by place "1234" against "234" would have no digit right."""
    assert report_on([("1234", "234")]).digit_accuracy == 3 / 4


def test_an_empty_number_is_all_missing() -> None:
    report = report_on([("12", "")])
    assert report.confusion[1, GAP] == report.confusion[2, GAP] == 1
    assert (report.accuracy, report.digit_accuracy, report.edit_distance) == (0, 0, 2)


@settings(deadline=None)
@given(pairs_of_numbers)
def test_equals_a_plain_edit_distance(pairs: Pairs) -> None:
    report = report_on(pairs)
    distances = [edit_distance(true, read) for true, read in pairs]
    assert report.edit_distance == pytest.approx(np.mean(distances))
    assert report.accuracy == pytest.approx(np.mean([true == read for true, read in pairs]))
    true_digits = [int(digit) for true, _ in pairs for digit in true]
    np.testing.assert_array_equal(
        report.confusion[:GAP].sum(1), np.bincount(true_digits, minlength=GAP)
    )
    assert 0 <= report.digit_accuracy <= 1


@settings(deadline=None)
@given(numbers, numbers)
def test_alignment_spells_both_numbers(true: str, read: str) -> None:
    pairs = align([int(digit) for digit in true], [int(digit) for digit in read])
    assert "".join(str(digit) for digit, _ in pairs if digit != GAP) == true
    assert "".join(str(digit) for _, digit in pairs if digit != GAP) == read
    assert (GAP, GAP) not in pairs
    assert sum(a != b for a, b in pairs) == edit_distance(true, read)


@settings(deadline=None)
@given(pairs_of_numbers, st.integers(0, 12))
def test_batches_do_not_matter(pairs: Pairs, cut: int) -> None:
    metrics = NumberMetrics()
    for part in (pairs[:cut], pairs[cut:]):
        if part:
            metrics.update(labels_of(t for t, _ in part), labels_of(r for _, r in part))
    whole, parts = report_on(pairs), metrics.result()
    np.testing.assert_array_equal(parts.confusion, whole.confusion)
    assert parts.scalars() == whole.scalars()
    assert parts.by_length == whole.by_length


def test_scalars_are_json() -> None:
    scalars = report_on([("1", "1"), ("2", "3")]).scalars()
    assert json.loads(json.dumps(scalars)) == {
        "accuracy": 0.5,
        "digit_accuracy": 0.5,
        "edit_distance": 0.5,
        "length_accuracy": 1.0,
    }


def test_narrower_arrays_are_the_same() -> None:
    metrics = NumberMetrics()
    metrics.update([[1, -1]], [[1, -1, -1]])
    assert metrics.result().accuracy == 1


def test_no_numbers() -> None:
    metrics = NumberMetrics()
    metrics.update(np.zeros((0, 6), int), np.zeros((0, 6), int))
    with pytest.raises(ValueError, match="call update first"):
        metrics.result()


@pytest.mark.parametrize(
    ("labels", "predicted", "message"),
    [
        ([[1, -1]], [[1, -1], [2, -1]], "1 labels for 2"),
        ([[1, 10]], [[1, -1]], "labels must be digits"),
        ([[1, -1]], [[-1, 1]], "predicted must be digits"),
        ([[-2, -1]], [[1, -1]], "labels must be digits"),
        ([1, 2], [1, 2], r"integers \[B, N\]"),
        ([[1] * 7], [[1] * 7], "N <= 6"),
        ([[1.0]], [[1.0]], "float64"),
    ],
)
def test_mistakes_are_refused(labels, predicted, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NumberMetrics().update(labels, predicted)


def test_memory_does_not_grow() -> None:
    metrics = NumberMetrics()
    for _ in itertools.repeat(None, 3):
        metrics.update(labels_of(["12"] * 100), labels_of(["12"] * 100))
    assert sum(value.nbytes for value in vars(metrics).values()) < 2000

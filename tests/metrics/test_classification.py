"""Classification metrics: by hand, against scikit-learn, and in any batching."""

import json
import math
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from tfcamp.metrics.classification import ClassificationMetrics, ClassificationReport


def report_on(labels, probabilities, num_bins: int = 15, classes=None) -> ClassificationReport:
    probabilities = np.asarray(probabilities)
    classes = classes or [str(c) for c in range(probabilities.shape[-1])]
    metrics = ClassificationMetrics(classes, num_bins=num_bins)
    metrics.update(labels, probabilities)
    return metrics.result()


def random_case(seed: int, num_rows: int = 60, num_classes: int = 5):
    rng = np.random.default_rng(seed)
    return rng.integers(0, num_classes, num_rows), rng.dirichlet(np.ones(num_classes), num_rows)


def test_by_hand() -> None:
    report = report_on([0, 0, 1, 1], [[0.8, 0.2], [0.4, 0.6], [0.3, 0.7], [0.1, 0.9]])
    np.testing.assert_array_equal(report.confusion, [[1, 1], [0, 2]])
    assert report.confusion.dtype == np.int64
    assert report.accuracy == 0.75
    first, second = report.per_class
    assert (first.precision, first.recall, first.f1, first.support) == (1.0, 0.5, 2 / 3, 2)
    assert (second.precision, second.recall, second.f1) == pytest.approx((2 / 3, 1.0, 0.8))
    assert report.macro_f1 == pytest.approx((2 / 3 + 0.8) / 2)
    assert report.loss == pytest.approx(-math.log(0.8 * 0.4 * 0.7 * 0.9) / 4)


def test_calibration_by_hand() -> None:
    # Two bins: (0, 0.5] holds one row, right, at 0.5; (0.5, 1] holds 0.8 right and 0.6 wrong.
    report = report_on([0, 0, 0], [[0.5, 0.5], [0.8, 0.2], [0.4, 0.6]], num_bins=2)
    low, high = report.calibration
    assert tuple(low) == (0.0, 0.5, 1, 0.5, 1.0)
    assert tuple(high) == pytest.approx((0.5, 1.0, 2, 0.7, 0.5))
    assert report.expected_calibration_error == pytest.approx((0.5 + 2 * 0.2) / 3)


def test_equals_scikit_learn() -> None:
    labels, probabilities = random_case(0)
    predicted = probabilities.argmax(-1)
    report = report_on(labels, probabilities)
    np.testing.assert_array_equal(
        report.confusion, sklearn_metrics.confusion_matrix(labels, predicted)
    )
    assert report.accuracy == sklearn_metrics.accuracy_score(labels, predicted)
    assert report.loss == pytest.approx(sklearn_metrics.log_loss(labels, probabilities))
    for average in ("macro", "weighted"):
        expected = sklearn_metrics.f1_score(labels, predicted, average=average)
        assert getattr(report, f"{average}_f1") == pytest.approx(expected)
    columns = sklearn_metrics.precision_recall_fscore_support(labels, predicted)
    np.testing.assert_allclose(np.transpose([row[1:] for row in report.per_class]), columns)


def test_a_class_that_does_not_occur_is_left_out_of_the_macro_average() -> None:
    labels, probabilities = [0, 1, 1], np.array([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.7, 0.3, 0]])
    report = report_on(labels, probabilities)
    expected = sklearn_metrics.f1_score(labels, probabilities.argmax(-1), average="macro")
    assert report.macro_f1 == pytest.approx(expected) == pytest.approx(2 / 3)
    assert report.per_class[2] == ("2", 0.0, 0.0, 0.0, 0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**16), st.lists(st.integers(0, 60), max_size=4))
def test_batches_do_not_matter(seed: int, cuts: list[int]) -> None:
    labels, probabilities = random_case(seed)
    metrics = ClassificationMetrics("abcde")
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), 60], strict=True):
        metrics.update(labels[start:stop], probabilities[start:stop])
    in_parts, whole = metrics.result(), report_on(labels, probabilities)
    np.testing.assert_array_equal(in_parts.confusion, whole.confusion)
    assert in_parts.scalars() == pytest.approx(whole.scalars())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**16))
def test_bins_partition_the_rows(seed: int) -> None:
    labels, probabilities = random_case(seed)
    report = report_on(labels, probabilities)
    confidence = probabilities.max(-1)
    for lower, upper, count, mean, _ in report.calibration:
        inside = (confidence > lower) & (confidence <= upper)
        assert count == inside.sum()
        assert mean == pytest.approx(confidence[inside].mean() if count else 0.0)
    hits = sum(bin.count * bin.accuracy for bin in report.calibration)
    assert hits == pytest.approx(report.accuracy * 60)


def test_a_calibrated_model_has_no_calibration_error() -> None:
    probabilities = np.tile([0.75, 0.25], (400, 1))
    labels = np.arange(400) % 4 // 3
    assert report_on(labels, probabilities).expected_calibration_error == pytest.approx(0.0)


def test_perfect_and_certain() -> None:
    report = report_on([0, 1, 2], np.eye(3))
    assert report.accuracy == report.macro_f1 == report.weighted_f1 == 1.0
    assert report.loss == report.expected_calibration_error == 0.0


def test_wrong_and_certain_is_finite() -> None:
    assert report_on([0], [[0.0, 1.0]]).loss == pytest.approx(87.3365)


def columns(line: str) -> int:
    """Terminal columns: CJK characters take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


def test_table_is_aligned_with_chinese_names() -> None:
    labels, probabilities = random_case(3, num_classes=4)
    report = report_on(labels, probabilities, classes=["财经", "sport", "(全角)", "x"])
    lines = report.table().splitlines()
    assert len(lines) == 1 + 4 + 3
    assert len({columns(line) for line in lines}) == 1
    # A table padded by characters would be ragged here.
    assert len({len(line) for line in lines}) > 1
    assert f"{report.macro_f1:.4f}" in lines[5]


def test_combining_marks_take_no_column() -> None:
    plain, accented = (
        report_on([0, 1], np.eye(2), classes=[name, "b"]).table().splitlines()[1]
        for name in ("cafe", "cafe\N{COMBINING ACUTE ACCENT}")
    )
    assert len(accented) == len(plain) + 1


def test_scalars_are_plain_json() -> None:
    scalars = report_on(*random_case(4)).scalars()
    assert json.loads(json.dumps(scalars)) == scalars


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([0, 1], [[1.0, 0.0]], r"\(2,\) and \(1, 2\)"),
        ([0], [[1.0, 0.0, 0.0]], "probabilities"),
        ([2], [[1.0, 0.0]], r"\[0, 2\)"),
        ([-1], [[1.0, 0.0]], r"\[0, 2\)"),
        ([0.5], [[1.0, 0.0]], "integers"),
        ([0], [[2.0, -1.0]], "logits"),
        ([0], [[3.0, 1.0]], "logits"),
        ([0], [[math.nan, 1.0]], "sum to one"),
    ],
)
def test_mistakes_are_refused(labels, probabilities, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassificationMetrics(["a", "b"]).update(labels, probabilities)


def test_nothing_to_report_on() -> None:
    metrics = ClassificationMetrics(["a", "b"])
    metrics.update(np.zeros(0, np.int32), np.zeros((0, 2)))
    with pytest.raises(ValueError, match="no rows"):
        metrics.result()
    with pytest.raises(ValueError, match="at least one class"):
        ClassificationMetrics([])


def test_the_report_is_a_copy() -> None:
    metrics = ClassificationMetrics(["a", "b"])
    metrics.update([0], [[1.0, 0.0]])
    before = metrics.result()
    metrics.update([1], [[1.0, 0.0]])
    assert before.confusion.sum() == 1

"""Classification metrics, summed up batch by batch on the host.

A confusion matrix holds all that accuracy, precision, recall and F1 need, so memory does not grow
with the data; calibration needs three numbers a bin more.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

# Below this a float32 softmax is 0: a wrong answer given with all confidence costs 87 nats.
_SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)


class ClassScores(NamedTuple):
    """How well one class was told apart.

    Attributes:
      name: the class's name.
      precision: share of the rows predicted as this class that are of it; 0 if there are none.
      recall: share of this class's rows that were found; 0 if there are none.
      f1: harmonic mean of both; 0 if both are 0.
      support: number of rows of this class.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


class CalibrationBin(NamedTuple):
    """The rows whose confidence, the probability of the predicted class, is in (lower, upper].

    Attributes:
      lower: exclusive end of the bin.
      upper: inclusive end of the bin.
      count: number of rows.
      confidence: their mean confidence; 0 for an empty bin.
      accuracy: share of them that are right; 0 for an empty bin.
    """

    lower: float
    upper: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class ClassificationReport:
    """What `ClassificationMetrics` saw; see its docstring for the definitions.

    Attributes:
      accuracy: share of the rows whose likeliest class is theirs, in [0, 1].
      macro_f1: mean F1 of the classes that occur, in [0, 1].
      weighted_f1: mean F1 weighted by support, in [0, 1].
      loss: mean cross-entropy in nats.
      expected_calibration_error: in [0, 1].
      per_class: scores of every class, in the order of the classes.
      confusion: int64[C, C]; row: true class, column: predicted class.
      calibration: the bins behind the calibration error.
    """

    accuracy: float
    macro_f1: float
    weighted_f1: float
    loss: float
    expected_calibration_error: float
    per_class: tuple[ClassScores, ...]
    confusion: np.ndarray
    calibration: tuple[CalibrationBin, ...]

    def scalars(self) -> dict[str, float]:
        """Returns the figures of the whole, by name, ready for JSON."""
        return {
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "weighted_f1": self.weighted_f1,
            "loss": self.loss,
            "expected_calibration_error": self.expected_calibration_error,
        }

    def table(self) -> str:
        """Returns the per-class scores as lines for a terminal, Chinese names aligned too."""
        rows = [("class", "precision", "recall", "f1", "support")]
        rows += [
            (
                row.name,
                f"{row.precision:.4f}",
                f"{row.recall:.4f}",
                f"{row.f1:.4f}",
                f"{row.support:d}",
            )
            for row in self.per_class
        ]
        total = f"{self.confusion.sum():d}"
        rows.append(("macro average", "", "", f"{self.macro_f1:.4f}", total))
        rows.append(("weighted average", "", "", f"{self.weighted_f1:.4f}", total))
        rows.append(("accuracy", "", "", f"{self.accuracy:.4f}", total))
        width = max(_columns(row[0]) for row in rows)
        return "\n".join(
            name + " " * (width - _columns(name)) + "".join(f"{value:>11}" for value in values)
            for name, *values in rows
        )


class ClassificationMetrics:
    """Sums up predictions batch by batch and reports on all of them.

    F1 is taken per class. The macro average is over the classes that occur, as labels or as
    predictions (scikit-learn's rule): a class that the file lacks is no failure of the model.

    The expected calibration error is sum_m (n_m / n) |accuracy_m - confidence_m| over bins of equal
    width (Guo et al., 2017, eq. 3, with their 15 bins).

    >>> metrics = ClassificationMetrics(["财经", "sport"])
    >>> metrics.update([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    >>> print(metrics.result().table())
    class              precision     recall         f1    support
    财经                  0.5000     1.0000     0.6667          1
    sport                 1.0000     0.5000     0.6667          2
    macro average                               0.6667          3
    weighted average                            0.6667          3
    accuracy                                    0.6667          3
    """

    def __init__(self, classes: Sequence[str], *, num_bins: int = 15):
        """Starts with no rows.

        Args:
          classes: names of the C classes, in the order of their ids.
          num_bins: number of calibration bins.

        Raises:
          ValueError: there are no classes, or no bins.
        """
        if not classes or num_bins < 1:
            raise ValueError(
                f"at least one class and one bin are needed, got {classes!r}, {num_bins=}"
            )
        self.classes = tuple(classes)
        self._confusion = np.zeros((len(classes), len(classes)), np.int64)
        self._total_loss = 0.0
        # count, sum of confidences and number of right answers of each bin
        self._bins = np.zeros((num_bins, 3))

    def update(self, labels: Any, probabilities: Any) -> None:
        """Adds a batch; rows that only fill up a static batch must be taken out before.

        Args:
          labels: int[N], class ids in [0, C).
          probabilities: float[N, C], each row summing to one.

        Raises:
          ValueError: the shapes do not fit, a label is out of range, or a row is no distribution.
        """
        labels = np.asarray(labels)
        probabilities = np.asarray(probabilities, np.float64)
        num_classes = len(self.classes)
        if labels.ndim != 1 or probabilities.shape != (len(labels), num_classes):
            raise ValueError(
                f"expected labels [N] and probabilities [N, {num_classes}], "
                f"got {labels.shape} and {probabilities.shape}"
            )
        if len(labels) == 0:
            return
        if not np.issubdtype(labels.dtype, np.integer) or not (
            0 <= labels.min() <= labels.max() < num_classes
        ):
            raise ValueError(f"labels must be integers in [0, {num_classes}), got {labels!r}")
        # A bfloat16 softmax sums to one within 1 %; logits hardly ever do.
        if probabilities.min() < 0 or not np.allclose(probabilities.sum(-1), 1.0, atol=0.02):
            raise ValueError(
                "probabilities must be >= 0 and sum to one in each row; are they logits?"
            )

        predicted = probabilities.argmax(-1)
        np.add.at(self._confusion, (labels, predicted), 1)
        right = probabilities[np.arange(len(labels)), labels]
        self._total_loss -= np.log(np.maximum(right, _SMALLEST_PROBABILITY)).sum()

        confidence = probabilities.max(-1)
        num_bins = len(self._bins)
        index = np.clip(np.ceil(confidence * num_bins).astype(int) - 1, 0, num_bins - 1)
        row = np.stack([np.ones_like(confidence), confidence, predicted == labels], axis=-1)
        np.add.at(self._bins, index, row)

    def result(self) -> ClassificationReport:
        """Returns the report on all rows so far.

        Raises:
          ValueError: there were none.
        """
        confusion = self._confusion.copy()
        num_rows = int(confusion.sum())
        if num_rows == 0:
            raise ValueError("no rows to report on: call update first")
        hits, support, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
        f1 = _ratio(2 * hits, support + predicted)
        occurs = support + predicted > 0
        count, confidence, right = self._bins.T
        mean_confidence, accuracy = _ratio(confidence, count), _ratio(right, count)
        edges = np.linspace(0, 1, len(count) + 1)
        return ClassificationReport(
            accuracy=float(hits.sum() / num_rows),
            macro_f1=float(f1[occurs].mean()),
            weighted_f1=float((f1 * support).sum() / num_rows),
            loss=float(self._total_loss / num_rows),
            expected_calibration_error=float(
                (count * np.abs(accuracy - mean_confidence)).sum() / num_rows
            ),
            per_class=tuple(
                ClassScores(name, float(precision), float(recall), float(score), int(rows))
                for name, precision, recall, score, rows in zip(
                    self.classes,
                    _ratio(hits, predicted),
                    _ratio(hits, support),
                    f1,
                    support,
                    strict=True,
                )
            ),
            confusion=confusion,
            calibration=tuple(
                CalibrationBin(float(lower), float(upper), int(n), float(mean), float(share))
                for lower, upper, n, mean, share in zip(
                    edges, edges[1:], count, mean_confidence, accuracy, strict=False
                )
            ),
        )


def _ratio(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    """Returns parts / wholes as float64, 0 where the whole is 0."""
    return np.divide(parts, wholes, out=np.zeros(len(parts)), where=wholes > 0)


def _columns(text: str) -> int:
    """Returns how many columns a terminal gives the text: 2 to wide characters, 0 to marks."""
    return sum(
        0
        if unicodedata.category(character) in ("Mn", "Me", "Cf")
        else 2
        if unicodedata.east_asian_width(character) in "WF"
        else 1
        for character in text
    )

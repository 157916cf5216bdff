"""Metrics of numbers, summed up batch by batch on the host.

A number that is wrong may be so by a digit that was misread, left out or seen twice; after the
first such place a comparison position by position is worth nothing. So numbers are aligned first.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tfcamp.vision.digits import MAX_DIGITS, NO_DIGIT

# Stands for "no digit" in the confusion matrix, after the digits 0 to 9.
GAP = 10


class LengthScores(NamedTuple):
    """How well the numbers of one length were read.

    Attributes:
      length: number of digits.
      accuracy: share of these numbers that were read without a mistake; 0 if there are none.
      length_accuracy: share of them of which the right number of digits was read; 0 likewise.
      support: how many there are.
    """

    length: int
    accuracy: float
    length_accuracy: float
    support: int


@dataclass(frozen=True)
class NumberReport:
    """What `NumberMetrics` saw; see its docstring for the definitions.

    Attributes:
      accuracy: share of the numbers that were read without a mistake, in [0, 1].
      digit_accuracy: share of the aligned places that agree, in [0, 1].
      edit_distance: mean number of digits to replace, add or remove in a number.
      length_accuracy: share of the numbers of which the right number of digits was read.
      by_length: scores of every length that occurs, in order.
      confusion: int64[11, 11]; row: true digit, column: digit read. The last row holds digits that
        were read where there are none, the last column digits that were not read.
    """

    accuracy: float
    digit_accuracy: float
    edit_distance: float
    length_accuracy: float
    by_length: tuple[LengthScores, ...]
    confusion: np.ndarray

    def scalars(self) -> dict[str, float]:
        """Returns the figures of the whole, by name, ready for JSON."""
        return {
            "accuracy": self.accuracy,
            "digit_accuracy": self.digit_accuracy,
            "edit_distance": self.edit_distance,
            "length_accuracy": self.length_accuracy,
        }

    def table(self) -> str:
        """Returns the scores by length as lines for a terminal."""
        support = sum(row.support for row in self.by_length)
        rows = [
            (str(row.length), row.accuracy, row.length_accuracy, row.support)
            for row in self.by_length
        ]
        rows.append(("all", self.accuracy, self.length_accuracy, support))
        lines = [f"{'digits':<8}{'accuracy':>10}{'right length':>14}{'support':>9}"]
        lines += [
            f"{name:<8}{accuracy:>10.4f}{length_accuracy:>14.4f}{count:>9d}"
            for name, accuracy, length_accuracy, count in rows
        ]
        return "\n".join(lines)


class NumberMetrics:
    """Sums up numbers that were read and reports on all of them.

    Each is aligned with the true one by the fewest replacements, additions and removals of a digit
    (Levenshtein, 1966); of several such alignments the one that replaces most, rightmost. The digit
    accuracy is the share of the aligned places, gaps included, that agree.

    >>> metrics = NumberMetrics()
    >>> metrics.update([[1, 9, -1], [7, -1, -1]], [[1, 9, -1], [7, 7, -1]])
    >>> print(metrics.result().table())
    digits    accuracy  right length  support
    1           0.0000        0.0000        1
    2           1.0000        1.0000        1
    all         0.5000        0.5000        2
    """

    def __init__(self) -> None:
        """Starts with no numbers."""
        self._confusion = np.zeros((GAP + 1, GAP + 1), np.int64)
        # numbers, those without a mistake, and those of the right length, by true length
        self._by_length = np.zeros((MAX_DIGITS + 1, 3), np.int64)

    def update(self, labels: Any, predicted: Any) -> None:
        """Adds a batch; rows that only fill up a static batch must be taken out before.

        Args:
          labels: int[B, N], N <= 6, digits and then `NO_DIGIT`.
          predicted: int[B, M], M <= 6, likewise; a number may be empty.

        Raises:
          ValueError: the shapes do not fit, or a value is neither a digit nor `NO_DIGIT`.
        """
        labels, predicted = _padded("labels", labels), _padded("predicted", predicted)
        if len(labels) != len(predicted):
            raise ValueError(f"{len(labels)} labels for {len(predicted)} numbers that were read")
        right = (labels == predicted).all(-1)
        digits = labels[right][labels[right] != NO_DIGIT]
        np.add.at(self._confusion, (digits, digits), 1)
        for true, read in zip(labels[~right], predicted[~right], strict=True):
            for pair in align(true[true != NO_DIGIT].tolist(), read[read != NO_DIGIT].tolist()):
                self._confusion[pair] += 1
        length = (labels != NO_DIGIT).sum(-1)
        right_length = length == (predicted != NO_DIGIT).sum(-1)
        row = np.stack([np.ones_like(length), right, right_length], axis=-1)
        np.add.at(self._by_length, length, row)

    def result(self) -> NumberReport:
        """Returns the report on all numbers so far.

        Raises:
          ValueError: there were none.
        """
        num_numbers, right, right_length = (int(count) for count in self._by_length.sum(0))
        if num_numbers == 0:
            raise ValueError("no numbers to report on: call update first")
        confusion = self._confusion.copy()
        places, agreeing = int(confusion.sum()), int(confusion.trace())
        return NumberReport(
            accuracy=right / num_numbers,
            # Empty numbers that were read as such have no place to be wrong at.
            digit_accuracy=agreeing / places if places else 1.0,
            edit_distance=(places - agreeing) / num_numbers,
            length_accuracy=right_length / num_numbers,
            by_length=tuple(
                LengthScores(length, int(hits) / int(count), int(lengths) / int(count), int(count))
                for length, (count, hits, lengths) in enumerate(self._by_length)
                if count
            ),
            confusion=confusion,
        )


def align(true: list[int], read: list[int]) -> list[tuple[int, int]]:
    """Returns the pairs of a best alignment, left to right, `GAP` for no digit.

    >>> align([1, 2, 3], [1, 3])
    [(1, 1), (2, 10), (3, 3)]
    """
    # distance[i][j]: between the first i and the first j digits (Wagner and Fischer, 1974).
    distance = [[i + j for j in range(len(read) + 1)] for i in range(len(true) + 1)]
    for i, t in enumerate(true, 1):
        for j, r in enumerate(read, 1):
            distance[i][j] = min(
                distance[i - 1][j - 1] + (t != r),
                distance[i - 1][j] + 1,
                distance[i][j - 1] + 1,
            )
    pairs = []
    i, j = len(true), len(read)
    while i or j:
        here = distance[i][j]
        if i and j and here == distance[i - 1][j - 1] + (true[i - 1] != read[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((true[i], read[j]))
        elif i and here == distance[i - 1][j] + 1:
            i -= 1
            pairs.append((true[i], GAP))
        else:
            j -= 1
            pairs.append((GAP, read[j]))
    return pairs[::-1]


def _padded(name: str, numbers: Any) -> np.ndarray:
    """Returns int[B, MAX_DIGITS] of int[B, N], checked."""
    numbers = np.asarray(numbers)
    if numbers.ndim != 2 or numbers.shape[1] > MAX_DIGITS or numbers.dtype.kind != "i":
        raise ValueError(
            f"{name} must be integers [B, N] with N <= {MAX_DIGITS}, got {numbers.dtype} "
            f"{list(numbers.shape)}"
        )
    is_digit = numbers != NO_DIGIT
    if (
        not ((numbers[is_digit] >= 0) & (numbers[is_digit] < GAP)).all()
        or (is_digit[:, 1:] & ~is_digit[:, :-1]).any()
    ):
        raise ValueError(f"{name} must be digits and then {NO_DIGIT}, got {numbers!r}")
    margin = MAX_DIGITS - numbers.shape[1]
    return np.pad(numbers, ((0, 0), (0, margin)), constant_values=NO_DIGIT)

"""The tables of a classifier's report."""

import heapq
from collections.abc import Iterable, Sequence

import numpy as np

from tfcamp.figures.report import Table
from tfcamp.metrics.classification import ClassScores


def class_table(per_class: Sequence[ClassScores]) -> Table:
    """Returns the scores of each class, in the order of the classes.

    >>> class_table([ClassScores("财经", 0.5, 1.0, 2 / 3, 1)]).rows[0][0]
    '财经'
    """
    header = ["class", "precision", "recall", "F1", "rows"]
    return Table(header, [[*row] for row in per_class])


def mistakes_table(
    texts: Iterable[str],
    labels: Iterable[int],
    probabilities: Iterable[np.ndarray],
    classes: Sequence[str],
    *,
    limit: int = 30,
) -> Table:
    """Returns the wrong answers that the model was surest of: hard rows, or wrong labels.

    The three are read once, together; memory holds `limit` rows.

    Args:
      texts: the raw texts.
      labels: the class id of each.
      probabilities: float[C] of each.
      classes: C names.
      limit: how many mistakes are kept.

    Raises:
      ValueError: the lengths differ.

    >>> table = mistakes_table(["牛市", "进球"], [0, 1], np.array([[0.9, 0.1], [0.7, 0.3]]), "财体")
    >>> print(table.rows)
    [['进球', '体', '财', 0.7]]
    """
    mistakes = (
        (float(row.max()), text, classes[label], classes[int(row.argmax())])
        for text, label, row in zip(texts, labels, probabilities, strict=True)
        if row.argmax() != label
    )
    surest = heapq.nlargest(limit, mistakes, key=lambda mistake: mistake[0])
    rows = [[text, true, predicted, sure] for sure, text, true, predicted in surest]
    return Table(["text", "true", "predicted", "probability"], rows)

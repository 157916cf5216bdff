"""The tables of a classifier's report."""

from collections.abc import Sequence

from tfcamp.figures.report import Table
from tfcamp.metrics.classification import ClassScores


def class_table(per_class: Sequence[ClassScores]) -> Table:
    """Returns the scores of each class, in the order of the classes.

    >>> class_table([ClassScores("财经", 0.5, 1.0, 2 / 3, 1)]).rows[0][0]
    '财经'
    """
    header = ["class", "precision", "recall", "F1", "rows"]
    return Table(header, [[*row] for row in per_class])

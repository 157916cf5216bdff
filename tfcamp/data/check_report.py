"""What a look at a data set tells, and what is the same for texts, sentence pairs and pictures."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, compress
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from tqdm.auto import tqdm

from tfcamp.data.fingerprints import Fingerprints

# What touches a smaller share of a split's rows is told, but harms no training.
HARMFUL_SHARE = 0.01
# A score that is measured on fewer rows is said to be a rough one.
FEW_ROWS = 100

Row = TypeVar("Row")
Mask = npt.NDArray[np.bool_]


@dataclass
class Report:
    """What was seen.

    Attributes:
      kind: what the rows are.
      tables: each a header and its rows; what a row is about stands in its last column.
      notes: what the user should know.
      findings: what would harm training, or make the measured score worth nothing.
    """

    kind: str
    tables: list[list[Sequence[str]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    def tell(self, line: str, *, harmful: bool) -> None:
        """Adds a line to the findings, or else to the notes."""
        (self.findings if harmful else self.notes).append(line)


@dataclass(frozen=True)
class SeenRows:
    """The rows of a split, as far as they must be known to tell them apart.

    Attributes:
      split: `train`, `dev` or `test`.
      noun: what they are, for messages.
      exact: fingerprints of the rows as they are.
      near: of what is left of them without case, width and punctuation; None for pictures.
      show: yields the rows once more, as they are shown to the user.
    """

    split: str
    noun: str
    exact: Fingerprints
    near: Fingerprints | None
    show: Callable[[], Iterator[str]]

    def example(self, mask: Mask) -> str:
        """Returns the first row of those that are marked, shortened."""
        shown = next(compress(self.show(), mask))
        return repr(shown if len(shown) <= 50 else shown[:49] + "…")

    def told(self, mask: Mask) -> str:
        """Says how many rows are marked."""
        return f"{self.split}: {mask.sum():,} of {len(mask):,} {self.noun}"


def watch(rows: Iterable[Row], split: str, num_rows: int) -> Iterable[Row]:
    """Yields rows and shows how far they have been read."""
    return tqdm(
        rows,
        desc=split,
        total=num_rows,
        unit="row",
        leave=False,
        dynamic_ncols=True,
        disable=None,  # where nobody watches
    )


def report_leakage(report: Report, splits: Sequence[SeenRows]) -> None:
    """Tells which rows of dev and test stand in a split before them as well."""
    for earlier, later in combinations(splits, 2):
        shared = later.exact.are_in(earlier.exact)
        if shared.any():
            report.findings.append(
                f"{later.told(shared)} stand in {earlier.split} as well, such as "
                f"{later.example(shared)}; take them out of {earlier.split}"
            )
        if later.near is None or earlier.near is None:
            continue
        similar = later.near.are_in(earlier.near) & ~shared
        if similar.any():
            report.tell(
                f"{later.told(similar)} differ from one in {earlier.split} by case, width or "
                f"punctuation alone, such as {later.example(similar)}",
                harmful=bool(similar.mean() > HARMFUL_SHARE),
            )


def report_few(report: Report, splits: Sequence[SeenRows]) -> None:
    """Tells how roughly a score is measured on splits of few rows."""
    for rows in splits:
        num_rows = len(rows.exact.numbers())
        if rows.split != "train" and 0 < num_rows < FEW_ROWS:
            standard_error = math.sqrt(0.8 * 0.2 / num_rows)
            report.notes.append(
                f"{rows.split}: few {rows.noun} to measure by, {num_rows}: chance alone moves an "
                f"accuracy of 80 % by about {100 * standard_error:.0f} points"
            )


def report_contradictions(report: Report, rows: SeenRows, labels: npt.ArrayLike, what: str) -> None:
    """Tells which rows stand in a split several times, not always with the same label.

    Args:
      report: takes the line.
      rows: of the split.
      labels: int[N], of each row.
      what: a label is called, in the plural.
    """
    mask = rows.exact.with_several(labels)
    if mask.any():
        report.tell(
            f"{rows.told(mask)} stand there with several {what}, such as {rows.example(mask)}",
            harmful=bool(mask.mean() > HARMFUL_SHARE),
        )


def quantiles(lengths: Counter[int]) -> tuple[str, str, str]:
    """Returns median, 95th percentile and maximum of lengths that have been counted.

    >>> quantiles(Counter([1, 2, 2, 3, 1000]))
    ('2', '1,000', '1,000')
    """
    values = sorted(lengths)
    below = np.cumsum([lengths[value] for value in values])
    places = [np.searchsorted(below, share * below[-1]) for share in (0.5, 0.95, 1.0)]
    median, high, longest = (f"{values[place]:,}" for place in places)
    return median, high, longest

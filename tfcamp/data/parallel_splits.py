"""Splits of a data set of sentence pairs: streamed from disk at each iteration, never held."""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import numpy as np

from tfcamp.data.fingerprints import seeded_fingerprint
from tfcamp.errors import UserError

_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
# First pairs of a split that tell whether a side is Chinese.
_ROWS_TO_JUDGE = 100


class ParallelRow(NamedTuple):
    """One sentence pair, raw; either side may be empty.

    Attributes:
      source: the sentence to translate.
      target: its translation.
    """

    source: str
    target: str

    @property
    def has_both(self) -> bool:
        """Whether there is more than white space on either side."""
        return bool(self.source.strip() and self.target.strip())


@dataclass(frozen=True)
class ParallelSplit:
    """The pairs of one split; iterating reads them from disk, each time anew and in file order.

    Attributes:
      origin: the file or files that the pairs come from, for messages.
      num_rows: number of pairs, which is also its `len()`.
      read: opens the files and yields the pairs.
    """

    origin: str
    num_rows: int
    read: Callable[[], Iterator[ParallelRow]] = field(repr=False)

    def __iter__(self) -> Iterator[ParallelRow]:
        return self.read()

    def __len__(self) -> int:
        return self.num_rows


@dataclass(frozen=True)
class ParallelDataset:
    """A data set of sentence pairs, in one direction.

    Attributes:
      name: `sample`, `multi30k`, `reverse`, TFDS's name, or that of the user's file or folder.
      source_language: code of the language to translate from, such as `en`.
      target_language: code of the language to translate to.
      train: the training split; no side of its pairs is empty.
      dev: the validation split.
      test: the test split, if there is one.
      sha256: of the files' bytes one after the other: train, dev, test, and of each the languages
        in the order of their codes, so that it is the same in both directions.
      notes: lines that the user should read.
    """

    name: str
    source_language: str
    target_language: str
    train: ParallelSplit
    dev: ParallelSplit
    test: ParallelSplit | None
    sha256: str
    notes: tuple[str, ...] = ()


def open_split(
    origin: str, read: Callable[[], Iterator[ParallelRow]], languages: tuple[str, str]
) -> ParallelSplit:
    """Reads the pairs once, which checks each of them, and returns their split.

    Args:
      origin: see :class:`ParallelSplit`, and so is `read`.
      read: see there.
      languages: of source and target.

    Raises:
      UserError: a row is broken, there is none, or Chinese stands on the wrong side.
    """
    split = ParallelSplit(origin, sum(1 for _ in read()), read)
    _check_sides(split, languages)
    return split


def build_dataset(
    name: str,
    languages: tuple[str, str],
    train: ParallelSplit,
    dev: ParallelSplit,
    test: ParallelSplit | None,
    sha256: str,
    notes: Sequence[str] = (),
) -> ParallelDataset:
    """Puts a data set together; pairs that lack a sentence are left out of training.

    Files keep empty lines, so that line n of one still translates line n of the other; but there is
    nothing to learn from them. A note says how many they were.

    Args:
      name: see :class:`ParallelDataset`, and so are the others.
      languages: of source and target.
      train: all pairs of the training split.
      dev: see there.
      test: see there.
      sha256: see there.
      notes: see there.

    Raises:
      UserError: nothing is left to train on.
    """

    def rows() -> Iterator[ParallelRow]:
        return (row for row in train if row.has_both)

    kept = ParallelSplit(train.origin, sum(1 for _ in rows()), rows)
    if not len(kept):
        raise UserError(f"{train.origin}: each of its {len(train):,} pairs has an empty side")
    num_empty = len(train) - len(kept)
    if num_empty:
        notes = (*notes, f"{train.origin}: {num_empty:,} pairs lack a side and are not trained on")
    return ParallelDataset(name, *languages, kept, dev, test, sha256, tuple(notes))


def cut_by_sentence(
    whole: ParallelSplit, seed: int
) -> tuple[ParallelSplit, ParallelSplit, ParallelSplit]:
    """Cuts a split 80/10/10 into train, dev and test at random, without holding it.

    Source sentences are drawn: those with the smallest hashes are the dev split, those after them
    the test split. So one with several translations stands in one split only, and parts keep the
    order of the file. (In the other direction, others are drawn.)

    Args:
      whole: the split to cut.
      seed: any integer.

    Raises:
      UserError: a part would be empty.
    """

    def number(row: ParallelRow) -> int:
        return seeded_fingerprint(row.source, seed)

    numbers = np.fromiter((number(row) for row in whole), np.uint64, len(whole))
    distinct = np.unique(numbers)
    tenth = (len(distinct) + 5) // 10
    if tenth == 0:
        raise UserError(
            f"{whole.origin}: {len(distinct)} different sentences are too few to cut 80/10/10: "
            "give at least 5, or a folder with train and dev files"
        )
    # The largest hash of the dev split, and of the test split.
    limits = distinct[[tenth - 1, 2 * tenth - 1]].tolist()

    def part(place: int) -> ParallelSplit:
        def rows() -> Iterator[ParallelRow]:
            return (row for row in whole if bisect_left(limits, number(row)) == place)

        num_rows = int((np.searchsorted(limits, numbers) == place).sum())
        return ParallelSplit(whole.origin, num_rows, rows)

    return part(2), part(0), part(1)


def count_chinese(rows: Iterable[ParallelRow]) -> tuple[int, int]:
    """Returns how many source and how many target sentences of the first rows have Chinese in them.

    >>> count_chinese([ParallelRow("Hi.", "嗨。"), ParallelRow("OK", "OK")])
    (0, 1)
    """
    judged = list(islice(rows, _ROWS_TO_JUDGE))
    source, target = (sum(_HAN.search(row[side]) is not None for row in judged) for side in (0, 1))
    return source, target


def _check_sides(split: ParallelSplit, languages: tuple[str, str]) -> None:
    """Finds sides that were taken for each other, where one is Chinese, and splits without rows."""
    if not len(split):
        raise UserError(
            f"{split.origin}: has no rows; expected one sentence and its translation a line"
        )
    is_chinese = [language.startswith("zh") for language in languages]
    if is_chinese.count(True) != 1:
        return
    chinese = is_chinese.index(True)
    num_chinese = count_chinese(split)
    if num_chinese[chinese] == 0 < num_chinese[1 - chinese]:
        raise UserError(
            f"{split.origin}: the sentences taken for {languages[chinese]} have no Chinese "
            f"character, those taken for {languages[1 - chinese]} have; name the languages the "
            "other way round"
        )

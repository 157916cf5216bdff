"""Splits of a labelled text data set: streamed from disk at each iteration, never held."""

import hashlib
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfcamp.data.fingerprints import seeded_fingerprint
from tfcamp.data.text_files import FileRow, read_lines
from tfcamp.errors import UserError

# More labels than this are a mistake (columns swapped), and would fill the memory with "labels".
MAX_CLASSES = 10_000
_LABELS_FIRST = "; or do the labels stand first?"
# So many labels may stand in as few rows.
_FEW_LABELS = 4

Reader = Callable[[Path], Iterator[FileRow]]


class SingleClassError(UserError):
    """All rows of a training file have one label."""


class TextRow(NamedTuple):
    """One example.

    Attributes:
      text: raw text, or tokens separated by white space in a pretokenized data set; may be empty.
      label: class id in [0, C), or None where the file carries no labels.
    """

    text: str
    label: int | None


@dataclass(frozen=True)
class TextSplit:
    """The rows of one split; iterating reads them from disk, each time anew and in file order.

    Attributes:
      path: the file that the rows come from.
      num_rows: number of rows, which is also its `len()`.
      class_counts: int[C], rows of each class; all 0 in an unlabelled split.
      read: opens the file and yields the rows.
    """

    path: Path
    num_rows: int
    class_counts: tuple[int, ...]
    read: Callable[[], Iterator[TextRow]] = field(repr=False)

    def __iter__(self) -> Iterator[TextRow]:
        return self.read()

    def __len__(self) -> int:
        return self.num_rows

    @property
    def labelled(self) -> bool:
        """Whether the rows have labels."""
        return any(self.class_counts)


@dataclass(frozen=True)
class TextDataset:
    """A labelled text data set.

    Attributes:
      name: `sample`, `thucnews`, `tianchi_news`, or the name of the user's file or folder.
      classes: the C class names in the order of their ids.
      train: the training split.
      dev: the validation split.
      test: the test split, if there is one; its labels may be None.
      sha256: of the files' bytes one after the other: train, dev, test, class names, those there
        are; `cat` piped into `sha256sum` gives the same.
      notes: lines that the user should read.
      pretokenized: whether a text is a list of tokens separated by white space.
    """

    name: str
    classes: tuple[str, ...]
    train: TextSplit
    dev: TextSplit
    test: TextSplit | None
    sha256: str
    notes: tuple[str, ...] = ()
    pretokenized: bool = False


class LabelTally(NamedTuple):
    """How often a label stands in a file, and on which line first."""

    count: int
    first_line: int


def tally_labels(path: Path, read: Reader) -> dict[str | None, LabelTally]:
    """Reads a whole file once, which checks every row, and counts its labels.

    Returns:
      A tally for each label; the only key is None in an unlabelled file.

    Raises:
      UserError: a row is broken (file:line), there is none, or there are too many labels.
    """
    counts: dict[str | None, int] = {}
    first_lines: dict[str | None, int] = {}
    for row in read(path):
        if row.label not in counts:
            if len(counts) == MAX_CLASSES:
                raise UserError(
                    f"{path}:{row.line}: more than {MAX_CLASSES:,} different labels; are the "
                    f'columns swapped? expected "text<TAB>label", or a header that names them'
                )
            counts[row.label], first_lines[row.label] = 0, row.line
        counts[row.label] += 1
    if not counts:
        raise UserError(f"{path}: has no rows; expected one text and its label on each line")
    return {label: LabelTally(count, first_lines[label]) for label, count in counts.items()}


@dataclass(frozen=True)
class ClassList:
    """The class names of a data set and where they come from.

    Attributes:
      names: the names in the order of their ids.
      origin: a file, or a phrase that fits "label 'x' is not in ...".
      with_ids: whether a label may also be an id where it is not a name.
    """

    names: tuple[str, ...]
    origin: Path | str
    with_ids: bool

    @classmethod
    def read(cls, path: Path) -> "ClassList":
        """Reads a file of class names, one a line in the order of their ids."""
        names: list[str] = []
        lines = [line.strip() for line in read_lines(path)]
        while lines and not lines[-1]:
            lines.pop()  # what an editor leaves at the end
        for number, name in enumerate(lines, start=1):
            if not name:
                raise UserError(f"{path}:{number}: expected a class name, got an empty line")
            if name in names:
                raise UserError(f"{path}:{number}: class {name!r} is named twice")
            names.append(name)
        return cls(tuple(names), path, with_ids=True)

    @classmethod
    def from_labels(cls, tally: Mapping[str | None, LabelTally], path: Path) -> "ClassList":
        """Returns a file's labels in a fixed order: as numbers where all are, else as strings.

        >>> tally = {"10": LabelTally(1, 1), "9": LabelTally(4, 2)}
        >>> ClassList.from_labels(tally, Path("train.tsv")).names
        ('9', '10')
        """
        labels = [label for label in tally if label is not None]
        by_number = all(_is_integer(label) for label in labels)
        return cls(tuple(sorted(labels, key=int if by_number else None)), path, with_ids=False)

    def id_of(self, label: str, where: str, hint: str = "") -> int:
        """Returns the id in [0, C) of a label; `where` and `hint` begin and end the message."""
        if label in self.names:
            return self.names.index(label)
        num_classes = len(self.names)
        if self.with_ids and _is_integer(label):
            if 0 <= int(label) < num_classes:
                return int(label)
            raise UserError(
                f"{where}: label {label!r} is out of range: {self.origin} has {num_classes} "
                f"classes, ids 0 to {num_classes - 1}"
            )
        known = ", ".join(self.names[:12]) + (", …" if num_classes > 12 else "")
        raise UserError(
            f"{where}: label {label!r} is not in {self.origin}, which has {known}{hint}"
        )


def training_split(
    path: Path, read: Reader, classes: ClassList | None = None
) -> tuple[TextSplit, ClassList]:
    """Checks a training file and returns its split and its classes.

    Args:
      path: the file.
      read: how to read it.
      classes: the class names, or None to take the labels that the file has.

    Raises:
      UserError: a row is broken, a label unknown, or there are no labels.
      SingleClassError: all rows are of one class.
    """
    tally = tally_labels(path, read)
    if None in tally:
        raise UserError(f"{path}: has no label column; expected a text and its label in each row")
    classes = classes or ClassList.from_labels(tally, path)
    split = _whole_file(path, read, tally, classes)
    present = [name for name, count in zip(classes.names, split.class_counts, strict=True) if count]
    if len(present) == 1:
        raise SingleClassError(
            f"{path}: all {len(split)} rows have the label {present[0]!r}; expected two classes at "
            "least"
        )
    return split, classes


def held_out_split(
    path: Path, read: Reader, classes: ClassList, train: TextSplit, *, labelled: bool
) -> TextSplit:
    """Checks a validation or test file and returns its split.

    Raises:
      UserError: a row is broken, a label has no row in training (file:line), or there are no labels
        though `labelled` asks for them.
    """
    tally = tally_labels(path, read)
    if None in tally and labelled:
        raise UserError(f"{path}: has no label column; expected a text and its label in each row")
    split = _whole_file(path, read, tally, classes)
    for label, seen in tally.items():
        if label is None:
            continue
        where = f"{path}:{seen.first_line}"
        if train.class_counts[classes.id_of(label, where)] == 0:
            raise UserError(
                f"{where}: label {label!r} has no row in {train.path}: nothing can learn it"
            )
    return split


def cut_splits(whole: TextSplit, tenths: Sequence[int], seed: int) -> tuple[TextSplit, ...]:
    """Cuts a labelled split into parts at random, class by class, without holding its texts.

    Of each class's different texts, those with the smallest hashes go to the second part, those
    after them to the third. So a text that occurs several times stands in one part only: a model
    is never asked what it has learnt by heart. Parts keep the order of the file, and depend on
    nothing but the file and the seed.

    Args:
      whole: the split to cut.
      tenths: how many tenths of each class's texts (rounded) go to each part; what rounding leaves
        goes to the first.
      seed: any integer.

    Raises:
      UserError: a part would be empty.
    """
    if sum(tenths) != 10:
        raise ValueError(f"tenths must sum to 10, got {tenths}")
    labels, hashes = array("H"), array("Q")
    for row in whole:
        assert row.label is not None
        labels.append(row.label)
        hashes.append(seeded_fingerprint(row.text, seed))
    part_of = _draw(np.frombuffer(labels, np.uint16), np.frombuffer(hashes, np.uint64), tenths)

    def part(number: int) -> TextSplit:
        def rows() -> Iterator[TextRow]:
            pairs = zip(whole, part_of, strict=True)
            return (row for row, part in pairs if part == number)

        counts = np.bincount(
            np.frombuffer(labels, np.uint16)[part_of == number], minlength=len(whole.class_counts)
        )
        return TextSplit(whole.path, int(counts.sum()), tuple(counts.tolist()), rows)

    parts = tuple(part(number) for number in range(len(tenths)))
    if not all(parts):
        shares = "/".join(str(share * 10) for share in tenths)
        raise UserError(
            f"{whole.path}: {len(set(hashes))} different texts in {len(whole)} rows are too few to "
            f"cut {shares}: give each class at least 5, or give a folder with train and dev files"
            + (_LABELS_FIRST if 4 * len(set(hashes)) < len(whole) else "")
        )
    return parts


def sha256_of(paths: Iterable[Path]) -> str:
    """Returns the SHA-256 of files' bytes one after the other, in hexadecimal."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 16):
                digest.update(block)
    return digest.hexdigest()


def _draw(labels: np.ndarray, hashes: np.ndarray, tenths: Sequence[int]) -> np.ndarray:
    """Returns the part of each row, uint8[N], of its uint16[N] label and uint64[N] hash.

    `cut_splits` says how they are drawn.
    """
    texts, text_of = np.unique(hashes, return_inverse=True)
    class_of = np.full(len(texts), np.iinfo(labels.dtype).max)
    np.minimum.at(class_of, text_of, labels)  # of several labels of a text the smallest
    part_of_text = np.zeros(len(texts), np.uint8)
    for label in np.unique(class_of):
        of_class = np.flatnonzero(class_of == label)  # by hash
        begin = 0
        for part, share in enumerate(tenths[1:], start=1):
            end = begin + (len(of_class) * share + 5) // 10
            part_of_text[of_class[begin:end]] = part
            begin = end
    return part_of_text[text_of]


def _whole_file(
    path: Path, read: Reader, tally: Mapping[str | None, LabelTally], classes: ClassList
) -> TextSplit:
    """Returns the split that is the whole of a file, whose labels have been counted."""
    num_rows = sum(seen.count for seen in tally.values())
    # Labels repeat, texts hardly ever.
    hint = _LABELS_FIRST if num_rows < 2 * len(tally) and len(tally) > _FEW_LABELS else ""
    ids: dict[str | None, int | None] = {None: None}
    counts = [0] * len(classes.names)
    for label, seen in tally.items():
        if label is not None:
            number = classes.id_of(label, f"{path}:{seen.first_line}", hint)
            ids[label] = number
            counts[number] += seen.count

    def rows() -> Iterator[TextRow]:
        return (TextRow(row.text, ids[row.label]) for row in read(path))

    return TextSplit(path, num_rows, tuple(counts), rows)


def _is_integer(label: str) -> bool:
    return re.fullmatch(r"-?[0-9]{1,9}", label) is not None

r"""Sentence pairs in files, streamed: two files of lines, or one file of two columns.

| file | a row | languages |
|---|---|---|
| ``NAME.en`` and ``NAME.zh`` | line n of one translates line n of the other | the suffixes |
| ``NAME.tsv`` | ``source<TAB>target``; no quoting, a ``"`` is text | a header, or the order |

A file of two columns that stands alone may also be called ``NAME.txt``, as Anki's are. Each may be
compressed (``.gz``). A header names languages by their codes (``en``, ``zh``) or names
(``English``, ``中文``), or the columns ``source`` and ``target`` (``src`` and ``tgt``); its other
columns are passed over. Without a header the first two columns of sentences are the pair: columns
of numbers are passed over, and so is what stands to the right of the pair, an attribution say.
Every line has as many columns as the first one. Files are UTF-8, with or without a byte order mark,
with LF or CRLF. Lines of parallel files may be empty, for they are counted; empty lines of a .tsv
file are passed over.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, zip_longest
from pathlib import Path
from typing import NamedTuple

from tfcamp.data.languages import language_code, language_of_column
from tfcamp.data.parallel_splits import ParallelRow
from tfcamp.data.text_files import read_lines, split_name
from tfcamp.errors import UserError

TAB_SUFFIX = ".tsv"
# In a folder, a .txt is rather a LICENSE.txt.
LONE_SUFFIXES = (TAB_SUFFIX, ".txt")
UNNAMED_COLUMNS = ("source", "target")
_SHORT_NAMES = {"src": "source", "tgt": "target", "trg": "target"}
_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)*(e[-+]?\d+)?", re.IGNORECASE)
# Lines of a file without a header that tell which columns hold sentences.
_ROWS_TO_JUDGE = 100


class PairFileName(NamedTuple):
    """What a file name says: ``train.en.gz`` is the English side of ``train``.

    Attributes:
      stem: the name without suffixes.
      language: code of its language; None for a file that holds both.
    """

    stem: str
    language: str | None

    @classmethod
    def of(cls, path: Path) -> "PairFileName | None":
        """Returns what the name says, or None where it does not name sentence pairs.

        >>> PairFileName.of(Path("train.zh.gz"))
        PairFileName(stem='train', language='zh')
        >>> PairFileName.of(Path("train.tsv")), PairFileName.of(Path("LICENSE"))
        (PairFileName(stem='train', language=None), None)
        """
        stem, suffix = split_name(path)
        # In capitals too; but the region of zh-CN stays as it is.
        language = language_code(suffix[1:]) or language_code(suffix[1:].lower())
        if language is None and suffix.lower() != TAB_SUFFIX:
            return None
        return cls(stem, language)


class TabColumns(NamedTuple):
    """How the columns of a tab-separated file are used.

    Attributes:
      width: columns of each line.
      has_header: whether the first line names them.
      places: the column of each language; of "source" and "target" where languages are not named.
    """

    width: int
    has_header: bool
    places: dict[str, int]

    @classmethod
    def of(cls, path: Path) -> "TabColumns":
        """Looks at the first lines of a file.

        Raises:
          UserError: the file cannot be read, is empty, or has not two columns of sentences.
        """
        lines = list(islice(filter(None, read_lines(path)), _ROWS_TO_JUDGE))
        if not lines:
            raise UserError(f'{path}: has no rows; expected "source<TAB>target" on each line')
        fields = lines[0].split("\t")
        named = columns_in_header(fields)
        if named is not None:
            return cls(len(fields), True, named)
        if len(fields) == 1:
            hint = "; is the file comma-separated? convert it" if "," in lines[0] else ""
            raise UserError(f'{path}:1: expected "source<TAB>target", got 1 column{hint}')
        rows = [line.split("\t") for line in lines]
        # A line of another width is named where the file is read.
        columns = zip(*(row for row in rows if len(row) == len(fields)), strict=True)
        sentences = [place for place, column in enumerate(columns) if holds_sentences(column)]
        if len(sentences) < 2:
            raise UserError(
                f'{path}:1: expected "source<TAB>target", got {len(fields)} columns of which '
                f"{len(sentences) or 'none'} holds sentences; if the others, numbers or nothing, "
                'are meant, give them a first line "source<TAB>target"'
            )
        return cls(len(fields), False, dict(zip(UNNAMED_COLUMNS, sentences, strict=False)))


@dataclass(frozen=True)
class PairFiles:
    """The files of one split: one of two columns, or one of lines for each language.

    Attributes:
      paths: path of each language's file; of the language None where one file holds both.
    """

    paths: Mapping[str | None, Path]

    def languages(self) -> tuple[str, ...] | None:
        """Returns the languages that are there, None where neither suffix nor header names them.

        Raises:
          UserError: a tab-separated file cannot be read.
        """
        if None not in self.paths:
            return tuple(sorted(str(language) for language in self.paths))
        languages = tuple(TabColumns.of(self.paths[None]).places)
        return None if languages == UNNAMED_COLUMNS else languages

    def open(self, direction: tuple[str, str], unnamed: Sequence[str]) -> "OpenedFiles":
        """Prepares to read the pairs of two languages.

        Args:
          direction: the languages of source and target.
          unnamed: languages of the two columns of a file that does not name them.

        Raises:
          UserError: a file cannot be read, or a language is not there.
        """
        source, target = direction
        if None in self.paths:
            path = self.paths[None]
            columns = TabColumns.of(path)
            places = columns.places
            if tuple(places) == UNNAMED_COLUMNS:
                if len(unnamed) != 2:
                    raise UserError(f"{path}:1: expected a header that names two languages")
                places = dict(zip(unnamed, places.values(), strict=True))
            for language in direction:
                if language not in places:
                    raise UserError(
                        f"{path}:1: has {', '.join(places)}, but no column {language!r}"
                    )
            read = partial(read_tab_pairs, path, columns, places[source], places[target])
            return OpenedFiles(str(path), (path,), read)
        for language in direction:
            if language not in self.paths:
                path = next(iter(self.paths.values()))
                raise UserError(f"{path}: has no file in {language!r} beside it")
        paths = tuple(self.paths[language] for language in sorted(direction))
        read = partial(read_parallel_lines, self.paths[source], self.paths[target])
        return OpenedFiles(f"{paths[0]} and {paths[1].name}", paths, read)


class OpenedFiles(NamedTuple):
    """The pairs of one split in one direction.

    Attributes:
      origin: the files' names, for messages.
      paths: the files, in an order that does not depend on the direction.
      read: opens them and yields the pairs.
    """

    origin: str
    paths: tuple[Path, ...]
    read: Callable[[], Iterator[ParallelRow]]


def find_pair_files(folder: Path) -> dict[str, PairFiles]:
    """Returns the files of a folder that hold sentence pairs, by their stems.

    Raises:
      UserError: there are two files of one language, or both kinds of files, for one stem.
    """
    found: dict[str, dict[str | None, Path]] = {}
    for path in sorted(folder.iterdir()):
        name = PairFileName.of(path) if path.is_file() else None
        if name is None:
            continue
        files = found.setdefault(name.stem, {})
        # A file of both languages stands for each of them.
        clashing = [name.language, None] if name.language else list(files)
        same = next((files[language] for language in clashing if language in files), None)
        if same is not None:
            raise UserError(
                f"{folder}: has {same.name} and {path.name}, which mean the same; expected one of "
                "them"
            )
        files[name.language] = path
    return {stem: PairFiles(files) for stem, files in found.items()}


def columns_in_header(fields: Sequence[str]) -> dict[str, int] | None:
    """Returns the `places` of :class:`TabColumns` that a header names, None where it is none."""
    codes = [language_of_column(field.strip()) for field in fields]
    languages = {code: place for place, code in enumerate(codes) if code is not None}
    if len(languages) > 2:
        languages.pop("id", None)  # numbers of rows, more often than Indonesian
    if len(languages) > 1:
        return languages
    names = [field.strip().lower() for field in fields]
    names = [_SHORT_NAMES.get(name, name) for name in names]
    if set(UNNAMED_COLUMNS) <= set(names):
        return {name: names.index(name) for name in UNNAMED_COLUMNS}
    return None


def holds_sentences(column: Sequence[str]) -> bool:
    """Tells a column of sentences from one of numbers, of rows or scores say, or of nothing.

    >>> holds_sentences(["1", "2 cats"]), holds_sentences(["number", "1", "", "1276"])
    (True, False)
    >>> holds_sentences(["0.93", "1.08"])
    False
    """
    # The first field may be a name that is not known as one.
    fields = (field.strip() for field in column[1:] or column)
    return any(field and not _NUMBER.fullmatch(field) for field in fields)


def read_tab_pairs(
    path: Path, columns: TabColumns, source: int, target: int
) -> Iterator[ParallelRow]:
    """Yields the pairs of a tab-separated file.

    Args:
      path: the file.
      columns: what :meth:`TabColumns.of` says of it.
      source: the column of the source sentence.
      target: the column of its translation.

    Raises:
      UserError: the file cannot be read, or a line has another number of columns (file:line).
    """
    header_is_next = columns.has_header
    for number, line in enumerate(read_lines(path), start=1):
        if not line:
            continue
        if header_is_next:
            header_is_next = False
            continue
        fields = line.split("\t")
        if len(fields) != columns.width:
            origin = "the header" if columns.has_header else "the first line"
            raise UserError(
                f"{path}:{number}: expected {columns.width} columns as in {origin}, got "
                f"{len(fields)}; a sentence cannot hold a tab here"
            )
        yield ParallelRow(fields[source], fields[target])


def read_parallel_lines(source: Path, target: Path) -> Iterator[ParallelRow]:
    """Yields the pairs of two files of lines; empty lines are lines.

    Raises:
      UserError: a file cannot be read, or one has fewer lines than the other.
    """
    lines = zip_longest(read_lines(source), read_lines(target))
    for number, (source_line, target_line) in enumerate(lines, start=1):
        if source_line is None or target_line is None:
            longer, shorter = (target, source) if source_line is None else (source, target)
            num_lines = number + sum(1 for _ in lines)
            raise UserError(
                f"{longer}:{number}: has no counterpart: {shorter} has {number - 1:,} lines, "
                f"{longer.name} {num_lines:,}; line n of one must translate line n of the other"
            )
        yield ParallelRow(source_line, target_line)

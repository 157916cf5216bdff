"""Rows of labelled text files, streamed: tab-separated, comma-separated, JSON lines.

| suffix | a row | header |
|---|---|---|
| ``.tsv``, ``.txt`` | ``text<TAB>label``; no quoting, a ``"`` is text | optional |
| ``.csv`` | as Python's csv module reads it; a quoted field may hold line breaks | required |
| ``.jsonl``, ``.json`` | one JSON object a line | its keys |

A header (or the first JSON object) names the columns in any order: the text is ``text``, ``title``,
``sentence``, the label ``label``, ``category`` (all names are in `tfcamp.data.text_columns`); other
columns are passed over. In a header of two columns, the one beside the label is the text, whatever
it is called, but for numbers and names of files.
A file whose only column is a text is unlabelled, as a competition's test file is; so are JSON lines
without a label. Files are UTF-8, with or without a byte order mark, with LF or CRLF, and may be
compressed (``.gz``). Empty lines are passed over; an empty text is a legal text. Where a text is
the only column, an empty line between others is one, so that predictions stand line by line.
"""

import codecs
import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tfcamp.data.encodings import likely_encoding
from tfcamp.data.text_columns import (
    LABEL_COLUMNS,
    TEXT_COLUMNS,
    WITHOUT_HEADER,
    TextColumns,
    names_label,
    num_columns,
    shortened,
    unnamed_columns,
    wrong_tab_count,
)
from tfcamp.errors import UserError

# What a first line without a comma is cut by, and what to do.
_NO_COMMAS = {
    "\t": "; is it tab-separated? then name it .tsv",
    ";": "; its columns are cut by semicolons: save it with commas",
}
# From these the encoding of a file that is not UTF-8 is guessed.
_SAMPLE_BYTES = 1 << 16
# In characters. Python's own limit, 131,072, is less than a book's; without one, a quote that is
# never closed would bring the rest of a file into memory.
_MAX_FIELD_LENGTH = 1 << 24


class FileRow(NamedTuple):
    """One row as it stands in a file, before its label is looked up.

    Attributes:
      line: number of the line on which the row begins, from 1.
      text: the text, as written.
      label: the label as a string without surrounding white space; None in an unlabelled file.
    """

    line: int
    text: str
    label: str | None


def read_text_file(path: Path) -> Iterator[FileRow]:
    """Yields the rows of a file in the format that its suffix names.

    One row is in memory at a time.

    Raises:
      UserError: the file cannot be read, its suffix is unknown, or a row is broken (file:line).
    """
    reader = READERS.get(format_of(path))
    if reader is None:
        raise UserError(f"{path}: expected a file that ends in {', '.join(READERS)}")
    return reader(path)


def split_name(path: Path) -> tuple[str, str]:
    """Returns the name of a file without its suffix, and the suffix; ``.gz`` belongs to neither.

    >>> split_name(Path("folder/train.v2.TSV.gz"))
    ('train.v2', '.TSV')
    """
    inner = Path(path.stem) if _is_compressed(path) else path
    return inner.stem, inner.suffix


def format_of(path: Path) -> str:
    """Returns the suffix by which a file is read, in lower case."""
    return split_name(path)[1].lower()


def read_tab_separated(path: Path) -> Iterator[FileRow]:
    """Yields the rows of a tab-separated file, whatever its suffix."""
    columns, is_first = None, False
    lines = enumerate(read_lines(path), start=1)
    rows = ((number, line.split("\t") if line else []) for number, line in lines)
    for number, fields in _without_blank_lines(rows):
        if columns is None:
            columns = TextColumns.in_header(fields)
            if columns is not None:
                continue
            is_first = True
            if names_label(fields):
                told = unnamed_columns(fields, "\t")
                raise UserError(f"{path}:{number}: {told}")
            columns = WITHOUT_HEADER
        if len(fields) != columns.width:
            told = wrong_tab_count(fields, columns, is_first=is_first)
            raise UserError(f"{path}:{number}: {told}")
        is_first = False
        yield FileRow(number, fields[columns.text], _label_in(fields, columns, path, number))


def read_comma_separated(path: Path) -> Iterator[FileRow]:
    """Yields the rows of a comma-separated file that has a header."""
    # The limit belongs to the process: another reader's larger one stays.
    csv.field_size_limit(max(csv.field_size_limit(), _MAX_FIELD_LENGTH))
    # Strict, so that a stray quote is an error that names its line and does not swallow rows.
    reader = csv.reader((line + "\n" for line in read_lines(path)), strict=True)
    columns = None
    first_line = 1

    def numbered() -> Iterator[tuple[int, list[str]]]:
        nonlocal first_line
        for fields in reader:
            number, first_line = first_line, reader.line_num + 1
            yield number, fields

    try:
        for number, fields in _without_blank_lines(numbered()):
            if columns is None:
                columns = TextColumns.in_header(fields)
                if columns is None:
                    hints = (hint for mark, hint in _NO_COMMAS.items() if mark in fields[0])
                    told = unnamed_columns(fields, ",")
                    raise UserError(f"{path}:{number}: {told}{next(hints, '')}")
                continue
            if len(fields) != columns.width:
                raise UserError(
                    f"{path}:{number}: expected {num_columns(columns.width)} as in the header, got "
                    f"{num_columns(len(fields))}; a text that holds a comma must stand in quotes"
                )
            yield FileRow(number, fields[columns.text], _label_in(fields, columns, path, number))
    except csv.Error as error:
        raise UserError(
            f"{path}:{first_line}: {error}; is a quote never closed? inside a quoted text, "
            'write a quote as ""'
        ) from error


def _without_blank_lines(
    rows: Iterable[tuple[int, list[str]]],
) -> Iterator[tuple[int, list[str]]]:
    """Passes over lines without fields, but for those between rows of one column: empty texts."""
    width = 0
    blank: list[int] = []
    for number, fields in rows:
        if not fields:
            if width == 1:
                blank.append(number)
            continue
        width = width or len(fields)
        for line in blank:
            yield line, [""]
        blank.clear()
        yield number, fields


def read_json_lines(path: Path) -> Iterator[FileRow]:
    """Yields the rows of a file that holds one JSON object a line."""
    text_key = label_key = None
    for number, line in enumerate(read_lines(path), start=1):
        if not line:
            continue
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            # The position is left out: it counts from "line 1" of this one line.
            reason = str(error).partition(": line")[0]
            raise UserError(
                f"{where}: expected one JSON object a line, got {shortened(line)} ({reason})"
                f"{_hint_of_array(line, path)}"
            ) from error
        if not isinstance(row, dict):
            raise UserError(
                f"{where}: expected a JSON object, got {shortened(line)}"
                f"{_hint_of_array(line, path)}"
            )
        if text_key is None:
            text_key = next((key for key in TEXT_COLUMNS if key in row), TEXT_COLUMNS[0])
            label_key = next((key for key in LABEL_COLUMNS if key in row), None)
        text, label = row.get(text_key), row.get(label_key) if label_key else None
        if not isinstance(text, str):
            raise UserError(f'{where}: expected a string under "{text_key}", got {_json(text)}')
        if label_key is not None:
            if isinstance(label, bool) or not isinstance(label, str | int):
                raise UserError(
                    f'{where}: expected a string or an integer under "{label_key}", got '
                    f"{_json(label)}"
                )
            label = str(label).strip()
            if not label:
                raise UserError(
                    f'{where}: expected a label under "{label_key}", got an empty string'
                )
        if not _is_unicode(text) or not _is_unicode(label or ""):
            raise UserError(
                f"{where}: a \\u escape is half of a surrogate pair; write the character"
            )
        yield FileRow(number, text, label)


def _hint_of_array(line: str, path: Path) -> str:
    """Says how a JSON array becomes one object a line."""
    cut = f"jq -c '.[]' {path.name} > new.jsonl"
    return f"; an array? {cut} cuts it up" if line.startswith("[") else ""


READERS: dict[str, Callable[[Path], Iterator[FileRow]]] = {
    ".tsv": read_tab_separated,
    ".txt": read_tab_separated,
    ".csv": read_comma_separated,
    ".jsonl": read_json_lines,
    ".json": read_json_lines,
}


def read_lines(path: Path) -> Iterator[str]:
    """Yields the lines of a UTF-8 file without their LF or CRLF and without a byte order mark.

    Lines end at LF only: a title may hold U+2028 or another of `str.splitlines`' separators. A file
    that ends in ``.gz`` is read as if it were not compressed.

    Raises:
      UserError: the file cannot be read, is not UTF-8 (file:line, and the likely encoding), or its
        lines end in CR alone.
    """
    offset = 0
    try:
        with gzip.open(path, "rb") if _is_compressed(path) else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    decoded = line.decode("utf-8-sig" if offset == 0 else "utf-8")
                except UnicodeDecodeError as error:
                    # With the mark taken off, the codec counts from the byte after it.
                    unmarked = line.removeprefix(codecs.BOM_UTF8) if offset == 0 else line
                    at = offset + len(line) - len(unmarked) + error.start
                    encoding = likely_encoding(unmarked + file.read(_SAMPLE_BYTES))
                    raise UserError(
                        f"{path}:{number}: not UTF-8 at byte {at} "
                        f"(0x{unmarked[error.start]:02x}); {_how_to_convert(path, encoding)}"
                    ) from error
                offset += len(line)
                if number == 1 and "\r" in decoded.rstrip("\r") and "\n" not in decoded:
                    raise UserError(
                        f"{path}:1: lines end in CR alone, as on the first Macs; convert them: "
                        "tr '\\r' '\\n'"
                    )
                yield decoded.removesuffix("\n").removesuffix("\r")
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        hint = "; is it whole, and a gzip file?" if _is_compressed(path) else ""
        raise UserError(f"{path}: cannot be read: {reason}{hint}") from error


def _is_compressed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _how_to_convert(path: Path, encoding: str | None) -> str:
    """Says how a file that is not UTF-8 becomes it."""
    if encoding == "utf-8":
        return "most of the text there is UTF-8, so this line is damaged: write it anew"
    guess = f"it looks like {encoding}" if encoding else "find out its encoding"
    convert = f"iconv -f {encoding or 'ENCODING'} -t utf-8"
    if _is_compressed(path):
        return f"{guess}, convert it: zcat {path.name} | {convert} | gzip > new.{path.name}"
    return f"{guess}, convert it: {convert} {path.name} > new{path.suffix}"


def _label_in(fields: Sequence[str], columns: TextColumns, path: Path, number: int) -> str | None:
    """Returns a row's label; None in an unlabelled file."""
    if columns.label is None:
        return None
    label = fields[columns.label].strip()
    if not label:
        raise UserError(f"{path}:{number}: expected a label, got an empty field")
    return label


def _json(value: object) -> str:
    """Shows a JSON value that is missing (None) or of the wrong type."""
    return "nothing" if value is None else shortened(json.dumps(value, ensure_ascii=False))


def _is_unicode(text: str) -> bool:
    """Tells whether a string can be written as UTF-8: JSON can spell lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

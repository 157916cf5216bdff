"""What label files say of their images: the competition's JSON, and ``labels.csv``."""

import csv
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tfcamp.data.image_splits import DEV_STEMS
from tfcamp.data.text_columns import shortened
from tfcamp.data.text_files import read_lines
from tfcamp.errors import UserError
from tfcamp.vision.digits import check_number

_BOX_KEYS = ("left", "top", "width", "height")
# What the columns of labels.csv may be called, ours first.
_COLUMNS = {
    "file": ("file", "filename", "image"),
    "number": ("number", "label"),
    "split": ("split",),
}
# What a header without a comma is cut by, and what to do.
_NO_COMMAS = {
    mark: f"; its columns are cut by {marks}: save it with commas"
    for mark, marks in ((";", "semicolons"), ("\t", "tabs"))
}


class Entry(NamedTuple):
    """An image's name and what is known of it."""

    name: str
    number: str | None
    boxes: npt.NDArray[np.int32] | None


def read_competition_labels(path: Path) -> Iterator[Entry]:
    """Yields the entries of a file ``{"000001.png": {"label": [1, 9], "left": [..], ..}, ..}``."""
    try:
        entries = json.loads("\n".join(read_lines(path)))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: expected JSON: {error}") from error
    if not isinstance(entries, dict):
        raise UserError(f'{path}: expected an object {{"000001.png": {{"label": [1, 9], …}}, …}}')
    for name, entry in entries.items():
        where = f"{path}: {name}"
        digits = _numbers_in(entry, "label", where)
        if any(digit not in range(10) for digit in digits):
            hint = "; SVHN's own files write 10 for the digit 0" if 10 in digits else ""
            raise UserError(f"{where}: label must be digits 0 to 9, got {_short(digits)}{hint}")
        number = check_number("".join(str(int(digit)) for digit in digits), where)
        columns = {key: _numbers_in(entry, key, where) for key in _BOX_KEYS if key in entry}
        if columns and set(columns) != set(_BOX_KEYS):
            lacking = ", ".join(key for key in _BOX_KEYS if key not in columns)
            raise UserError(f"{where}: has no {lacking}; expected {', '.join(_BOX_KEYS)} or none")
        for key, values in columns.items():
            if len(values) != len(digits):
                raise UserError(
                    f"{where}: {key} has {len(values)} entries, label has {len(digits)}"
                )
            if key in ("width", "height") and min(values) < 0:
                raise UserError(f"{where}: {key} must not be negative, got {_short(values)}")
        boxes = [columns[key] for key in _BOX_KEYS] if columns else None
        yield Entry(name, number, None if boxes is None else np.array(boxes).T.astype(np.int32))


def _numbers_in(entry: Any, key: str, where: str) -> list[float]:
    """Returns the list of numbers under a key of a JSON object."""
    values = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(values, list) or not all(
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and abs(value) < 2**31
        for value in values
    ):
        shown = "nothing" if values is None else _short(values)
        raise UserError(f'{where}: expected a list of numbers under "{key}", got {shown}')
    return values


def read_labels_csv(path: Path) -> Iterator[tuple[int, str, str, str | None]]:
    """Yields line, file, number and split (None where there is no such column).

    A file's name is a path with slashes, whatever program wrote it.
    """
    reader = csv.reader((line + "\n" for line in read_lines(path)), strict=True)
    columns, width = None, 0
    try:
        for fields in reader:
            where = f"{path}:{reader.line_num}"
            fields = [field.strip() for field in fields]
            if not any(fields):
                continue
            if columns is None:
                columns, width = _columns_in(fields, where), len(fields)
                continue
            if len(fields) != width:
                raise UserError(
                    f"{where}: expected {width} columns as in the header, got {len(fields)}"
                )
            row = {column: fields[place] for column, place in columns.items()}
            if not row["file"]:
                raise UserError(f"{where}: expected the name of an image, got an empty field")
            name = str(PurePosixPath(row["file"].replace("\\", "/")))
            split = _split_named(row.get("split"), where)
            yield reader.line_num, name, check_number(row["number"], where), split
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: {error}") from error


def _columns_in(header: Sequence[str], where: str) -> dict[str, int]:
    """Returns the places of the columns that a header names: file, number and maybe split."""
    names = [field.lower() for field in header]
    columns = {
        column: names.index(name)
        for column, known in _COLUMNS.items()
        for name in reversed(known)  # so that ours is taken where there are several
        if name in names
    }
    if "file" not in columns or "number" not in columns:
        hints = (hint for mark, hint in _NO_COMMAS.items() if mark in header[0])
        raise UserError(
            f'{where}: expected a header "file,number" or "file,number,split", got '
            f"{_short(','.join(header))}{next(hints, '')}"
        )
    return columns


def _split_named(split: str | None, where: str) -> str | None:
    """Returns train, dev or test for one of their names."""
    names = {"train": ("train",), "dev": DEV_STEMS, "test": ("test",)}
    for part, stems in names.items():
        if split in stems:
            return part
    if split is not None:
        raise UserError(f"{where}: expected split train, dev or test, got {split!r}")
    return None


def _short(value: object) -> str:
    return shortened(value if isinstance(value, str) else json.dumps(value, default=str))

"""SVHN's archives of whole numbers: the images in a tar, their digits in a MATLAB file (HDF5)."""

import io
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

from tfcamp.data.storage import inside
from tfcamp.errors import UserError
from tfcamp.vision.digits import check_number

DIGIT_STRUCT = "digitStruct.mat"
BOX_KEYS = ("left", "top", "width", "height")


class HouseNumber(NamedTuple):
    """One image.

    Attributes:
      name: its file name.
      image: the PNG file's content.
      number: one to six digits.
      boxes: int32[N, 4], left, top, width, height in pixels; they may stick out of the image.
    """

    name: str
    image: bytes
    number: str
    boxes: npt.NDArray[np.int32]


def read_archive(path: Path) -> Iterator[HouseNumber]:
    """Yields the images of an archive in the order in which it holds them.

    The archive is read twice, since the digits may stand behind the images; it is not unpacked.

    Raises:
      UserError: it is no such archive, or an entry is not as expected.
    """
    content = next((data for name, data in _members(path) if name == DIGIT_STRUCT), None)
    if content is None:
        raise UserError(f"{path}: has no {DIGIT_STRUCT}; expected SVHN's archive of whole numbers")
    digits = read_digit_struct(content, f"{path}: {DIGIT_STRUCT}")
    for name, data in _members(path):
        if name in digits:
            number, boxes = digits.pop(name)
            yield HouseNumber(name, data, number, boxes)
    if digits:
        raise UserError(f"{path}: {DIGIT_STRUCT} names {next(iter(digits))}, which is not there")


def read_digit_struct(content: bytes, where: str) -> dict[str, tuple[str, npt.NDArray[np.int32]]]:
    """Returns number and boxes of each image by name.

    MATLAB stores an array of structs as references: ``digitStruct/name`` to a name's characters,
    ``digitStruct/bbox`` to a group whose ``label``, ``left`` and so on hold one number, or a
    reference to one for each digit.

    Raises:
      UserError: it is no such file, or an entry is not as expected.
    """
    found = {}
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            names, groups = file["digitStruct/name"][()], file["digitStruct/bbox"][()]
            for name_reference, group_reference in zip(names[:, 0], groups[:, 0], strict=True):
                name = "".join(chr(code) for code in file[name_reference][()].ravel())
                group = file[group_reference]
                labels = _numbers(file, group["label"])
                if not all(label in range(1, 11) for label in labels):
                    raise UserError(f"{where}: {name}: expected labels 1 to 10, got {labels}")
                digits = "".join(str(int(label) % 10) for label in labels)
                number = check_number(digits, f"{where}: {name}")
                columns = [_numbers(file, group[key]) for key in BOX_KEYS]
                if any(len(column) != len(labels) for column in columns):
                    raise UserError(f"{where}: {name}: has {len(labels)} labels and other boxes")
                found[name] = number, np.array(columns).T.round().astype(np.int32)
    except (OSError, KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{where}: expected SVHN's HDF5 layout: {error}") from error
    return found


def _numbers(file: h5py.File, column: h5py.Dataset) -> list[float]:
    """Returns the numbers of a column, one for each digit."""
    values = column[()].ravel()
    if values.dtype.kind != "O":
        return [float(value) for value in values]
    return [float(file[reference][()].ravel()[0]) for reference in values]


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yields file name and content of an archive's members, one at a time; nothing is unpacked."""
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                name = PurePosixPath(inside(member.name, path)).name
                file = archive.extractfile(member) if member.isfile() else None
                if file is not None:
                    yield name, file.read()
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read as a tar archive: {error}") from error

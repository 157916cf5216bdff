"""Single digits cut out of photographs: a folder of ``.npz`` files."""

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from tfcamp.data.image_splits import (
    DEV_STEMS,
    ImageDataset,
    ImageRow,
    ImageSplit,
    count_lengths,
    encode_png,
)
from tfcamp.data.image_stores import only_one
from tfcamp.data.text_splits import sha256_of
from tfcamp.errors import UserError


def load_crops(folder: Path) -> ImageDataset:
    """Opens a folder with ``train.npz``, ``val.npz`` and optionally ``test.npz``.

    Each holds ``x`` uint8[N, H, W, 3] and ``y`` integers[N] in 0 to 9, and may hold more.

    Raises:
      UserError: a file is missing, or is not as expected.
    """
    names = [name for stem in DEV_STEMS if (folder / (name := f"{stem}.npz")).is_file()]
    dev = only_one(folder, names)
    if dev is None:
        raise UserError(f"{folder}: has no val.npz; expected train.npz, val.npz and maybe test.npz")
    test = ["test.npz"] if (folder / "test.npz").is_file() else []
    paths = [folder / name for name in ("train.npz", dev, *test)]
    splits = [_open_crops(path) for path in paths]
    return ImageDataset(
        folder.name,
        splits[0],
        splits[1],
        splits[2] if len(splits) == 3 else None,
        sha256_of(paths),
        single_digit=True,
    )


def _open_crops(path: Path) -> ImageSplit:
    """Checks a file and returns its split."""
    try:
        # A file that NumPy opened itself would stay open where it cannot be read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if not {"x", "y"} <= set(arrays.files):
                raise UserError(f"{path}: has {', '.join(arrays.files)}; expected arrays x and y")
            labels = arrays["y"]
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        # TypeError: a lone array (.npy) cannot be opened as a file of several.
        raise UserError(f"{path}: cannot be read as a .npz file: {error}") from error
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise UserError(f"{path}: y is {labels.dtype}{list(labels.shape)}, expected integers[N]")
    wrong = np.flatnonzero((labels < 0) | (labels > 9))
    if len(wrong):
        hint = "; SVHN's own files write 10 for the digit 0" if (labels == 10).any() else ""
        raise UserError(
            f"{path}: y[{wrong[0]}] is {labels[wrong[0]]}, expected a digit 0 to 9{hint}"
        )
    numbers = [str(label) for label in labels.tolist()]
    if not numbers:
        raise UserError(f"{path}: has no rows")
    # Reading all of x once finds a file that is cut off.
    for _ in _read_pixels(path, len(numbers)):
        pass

    def rows() -> Iterator[ImageRow]:
        pixels = _read_pixels(path, len(numbers))
        for position, (number, crop) in enumerate(zip(numbers, pixels, strict=True)):
            yield ImageRow(f"{position:06d}", encode_png(crop), number, None)

    return ImageSplit(str(path), len(numbers), count_lengths(numbers), rows)


def _read_pixels(path: Path, num_rows: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Yields the rows of x one by one: `numpy.load` would read all of them."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open("x.npy") as file:
            shape, fortran_order, dtype = _read_header(file)
            if dtype != np.uint8 or len(shape) != 4 or shape[-1] != 3 or 0 in shape:
                raise UserError(
                    f"{path}: x is {dtype}{list(shape)}, expected uint8[N, H, W, 3]; is it scaled "
                    "to 0..1? save the bytes"
                )
            if fortran_order:
                raise UserError(f"{path}: x is in Fortran order; save numpy.ascontiguousarray(x)")
            if shape[0] != num_rows:
                raise UserError(f"{path}: x has {shape[0]} rows, y has {num_rows}")
            size = int(np.prod(shape[1:]))
            for _ in range(num_rows):
                data = file.read(size)
                if len(data) < size:
                    raise UserError(f"{path}: x is cut off")
                yield np.frombuffer(data, np.uint8).reshape(shape[1:])
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: x cannot be read: {error}") from error


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Returns shape, order and dtype of a .npy file, and leaves the position at its data."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0
    return (read if version == (1, 0) else np.lib.format.read_array_header_2_0)(file)

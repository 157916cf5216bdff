"""Splits of a data set of house numbers: streamed at each iteration, never held."""

import dataclasses
import io
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from tfcamp.errors import UserError
from tfcamp.vision.digits import MAX_DIGITS
from tfcamp.vision.images import MAX_PIXELS

# What files of the validation split are called, ours first.
DEV_STEMS = ("val", "dev", "valid", "validation")
# What undoes each orientation that a camera may note (Exif 2.32, tag 0x0112); 1 is upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageRow(NamedTuple):
    """One example.

    Attributes:
      name: the image's file name, or its position in a file of many.
      image: the content of a PNG or JPEG file.
      number: one to six digits; None where the data set carries no labels.
      boxes: int32[N, 4] left, top, width, height of each digit in pixels of the image, which may
        stick out of it; None where nobody marked them.
    """

    name: str
    image: bytes
    number: str | None
    boxes: npt.NDArray[np.int32] | None


@dataclass(frozen=True)
class ImageSplit:
    """The rows of one split; iterating reads them anew, each time in the same order.

    Attributes:
      origin: the file or folder that the rows come from, or what makes them.
      num_rows: number of rows, which is also its `len()`.
      length_counts: int[MAX_DIGITS], rows whose number has one digit, two digits and so on; all 0
        in an unlabelled split.
      read: yields the rows.
    """

    origin: str
    num_rows: int
    length_counts: tuple[int, ...]
    read: Callable[[], Iterator[ImageRow]] = field(repr=False)

    def __iter__(self) -> Iterator[ImageRow]:
        return self.read()

    def __len__(self) -> int:
        return self.num_rows

    @property
    def labelled(self) -> bool:
        """Whether the rows have numbers."""
        return any(self.length_counts)


@dataclass(frozen=True)
class ImageDataset:
    """A data set of house numbers or of single digits.

    Attributes:
      name: `sample`, `svhn_cropped`, `svhn_full`, or the name of the user's folder.
      train: the training split.
      dev: the validation split.
      test: the test split, if there is one; it may be unlabelled.
      sha256: of the files' bytes one after the other, train, dev, test; of a split's files the
        labels come first, then its images in the order of their names.
      notes: lines that the user should read.
      single_digit: whether each image shows one digit to read, with parts of its neighbours at the
        sides; otherwise a whole number.
    """

    name: str
    train: ImageSplit
    dev: ImageSplit
    test: ImageSplit | None
    sha256: str
    notes: tuple[str, ...] = ()
    single_digit: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of a digit, in the order of their ids."""
        return tuple("0123456789")


def count_lengths(numbers: Iterable[str | None]) -> tuple[int, ...]:
    """Returns how many numbers have one digit, two digits and so on up to `MAX_DIGITS`.

    >>> count_lengths(["7", "12", "30", None])
    (1, 2, 0, 0, 0, 0)
    """
    counts = [0] * MAX_DIGITS
    for number in numbers:
        if number is not None:
            counts[len(number) - 1] += 1
    return tuple(counts)


def take_rows(split: ImageSplit, num_rows: int) -> ImageSplit:
    """Returns the first rows of a split, for a quick run; its lengths are counted by reading them.

    Raises:
      ValueError: num_rows is not positive.
    """
    if num_rows < 1:
        raise ValueError(f"num_rows must be at least 1, got {num_rows}")
    if num_rows >= len(split):
        return split

    def rows() -> Iterator[ImageRow]:
        return (row for _, row in zip(range(num_rows), split, strict=False))

    counts = count_lengths(row.number for row in rows())
    return dataclasses.replace(split, num_rows=num_rows, length_counts=counts, read=rows)


def check_image(data: bytes, where: str) -> None:
    """Decodes an image once, so that a bad one is named when its data set is opened.

    Args:
      data: a file's content.
      where: the file, and the entry in it, for the message.

    Raises:
      UserError: it is no PNG or JPEG, damaged, cut off, or has more than `MAX_PIXELS` pixels.
    """
    if not data:
        raise UserError(f"{where}: is empty; expected a PNG or JPEG image")
    too_large = (
        f"{where}: has more than {MAX_PIXELS:,} pixels; expected a photograph, make it smaller"
    )
    try:
        with warnings.catch_warnings():
            # Pillow's own limit is higher and only warns.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise UserError(too_large)
                # A JPEG is read in full but decoded at an eighth of its size.
                image.draft(None, (width // 8 + 1, height // 8 + 1))
                image.load()
    except UnidentifiedImageError as error:
        if data.startswith((b"\x89PNG", b"\xff\xd8")):
            raise UserError(f"{where}: the image is damaged or cut off") from error
        raise UserError(
            f"{where}: begins with {data[:8]!r}; expected a PNG or JPEG image"
        ) from error
    except Image.DecompressionBombError as error:
        raise UserError(too_large) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise UserError(f"{where}: the image is damaged or cut off ({error})") from error


def turn_upright(data: bytes) -> bytes:
    """Turns a photograph as its camera noted in EXIF, which TensorFlow does not look at.

    Args:
      data: a file's content.

    Returns:
      An upright JPEG. `data` itself where it is no JPEG, or is upright, and where it is too large
      or damaged: whoever decodes it says so.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
                turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
                if turn is None or image.width * image.height > MAX_PIXELS:
                    return data
                file = io.BytesIO()
                # A PNG would be seven times as large and take 25 times as long; brought to the size
                # that a model reads, this differs from it by one grey level at most.
                image.transpose(turn).save(file, "JPEG", quality=95)
                return file.getvalue()
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError, EOFError):
        return data


def encode_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Returns the PNG file of uint8[H, W, 3] or uint8[H, W]."""
    file = io.BytesIO()
    # Level 1 is several times as fast as Pillow's 6, and the rows are soon decoded again.
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()

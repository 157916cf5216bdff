"""The English-Chinese archive of Tatoeba's sentences, and how its pairs are split."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast

from tfcamp.data.downloads import fetch_files
from tfcamp.data.fingerprints import letters_of, seeded_fingerprint
from tfcamp.data.storage import inside
from tfcamp.data.text_files import read_lines
from tfcamp.errors import UserError

HOMEPAGE = "https://www.manythings.org/anki/"
ARCHIVE = "cmn-eng.zip"
TEXT = "cmn.txt"
LANGUAGES = ("en", "zh")

# Hundredths of the English sentences that are held out.
_HELD_OUT = {"test": range(5), "validation": range(5, 10)}


class TatoebaPair(NamedTuple):
    """One line of the archive.

    Attributes:
      english: a sentence.
      chinese: its translation.
      attribution: the licence, and the numbers and authors of both sentences.
    """

    english: str
    chinese: str
    attribution: str


def urls() -> dict[str, str]:
    """Returns the address of the archive by its name."""
    return {ARCHIVE: HOMEPAGE + ARCHIVE}


def local_file(folder: Path) -> Path | None:
    """Returns the text or the archive in a folder, None where it has neither."""
    paths = (folder / TEXT, folder / ARCHIVE)
    return next((path for path in paths if path.is_file()), None)


def fetch(folder: Path) -> None:
    """Downloads the archive into a folder: see :func:`tfcamp.data.downloads.fetch_files`."""
    fetch_files("tatoeba", folder, urls(), difference)


def difference(name: str, path: Path) -> str | None:
    """Returns why a file cannot be the archive, or None: it is renewed, so it has no checksum.

    It is read through: so a piece of an older one shows by the checksum that a zip file has of each
    member.
    """
    try:
        for _ in read_pairs(path):
            pass
    except UserError as error:
        return f"{name}: {error}"
    return None


def read_pairs(path: Path) -> Iterator[TatoebaPair]:
    """Yields the pairs of the archive, or of the text in it.

    Raises:
      UserError: it cannot be read, or a line has not three columns (file:line).
    """
    try:
        text = path
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    inside(name, path)
            text = cast(Path, zipfile.Path(path, TEXT))  # what read_lines needs of a path, it has
            if not text.is_file():
                raise UserError(f"{path}: has no {TEXT}; is it {ARCHIVE} of {HOMEPAGE}?")
        for number, line in enumerate(read_lines(text), start=1):
            fields = line.split("\t")
            if len(fields) != 3:
                raise UserError(
                    f"{text}:{number}: expected English, Chinese and attribution, separated by "
                    f"tabs, got {len(fields)} columns; is it {TEXT} or {ARCHIVE} of {HOMEPAGE}?"
                )
            yield TatoebaPair(*fields)
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be read: {error}; is it whole?") from error


def read_split(path: Path, split: str) -> Iterator[TatoebaPair]:
    """Yields the pairs of a split, in the order of the file.

    A hash of the English sentence says to which split it belongs: a twentieth to each of test and
    validation. So it never changes its split when the archive grows, and all its translations are
    with it. Pairs whose Chinese sentence stands in the test split as well are left out of the
    other two, and pairs of train whose Chinese sentence stands in validation. Sentences count as
    the same without regard to case, punctuation and full-width forms.

    Args:
      path: the archive, or the text in it.
      split: ``train``, ``validation`` or ``test``.

    Raises:
      UserError: see :func:`read_pairs`.
    """
    before = {"test": (), "validation": ("test",), "train": ("test", "validation")}[split]
    taken = {
        letters_of(pair.chinese) for pair in read_pairs(path) if split_of(pair.english) in before
    }
    for pair in read_pairs(path):
        if split_of(pair.english) == split and letters_of(pair.chinese) not in taken:
            yield pair


def split_of(english: str) -> str:
    """Returns the split to which an English sentence belongs.

    >>> split_of("Wait!"), split_of("wait")
    ('train', 'train')
    """
    place = seeded_fingerprint(letters_of(english)) % 100
    return next((split for split, places in _HELD_OUT.items() if place in places), "train")

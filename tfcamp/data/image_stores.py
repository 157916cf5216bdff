"""Images by name, in a folder or in a zip archive that is never unpacked."""

import contextlib
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from tfcamp.data.storage import inside
from tfcamp.errors import UserError

_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
# A zip's member of more bytes is no photograph that could pass the pixel limit.
_MAX_IMAGE_BYTES = 2**28


class Images(Protocol):
    """Images by name, read one by one."""

    path: Path

    def names(self) -> list[str]:
        """Returns the names of all images, sorted."""
        ...

    def read_all(self, names: Iterable[str]) -> Iterator[bytes]:
        """Yields the contents of images by name, one by one."""
        ...

    def files(self, names: Iterable[str]) -> list[Path]:
        """Returns the files that hold them."""
        ...


def is_picture(name: str) -> bool:
    """Tells whether a path in a folder or an archive is that of an image.

    >>> [is_picture(name) for name in ("sub/a.JPG", "sub/._a.jpg", "__MACOSX/a.jpg", "a.txt")]
    [True, False, False, False]
    """
    return PurePosixPath(name).suffix.lower() in _IMAGE_SUFFIXES and not is_shadow(name)


def is_shadow(name: str) -> bool:
    """Tells whether macOS laid the file beside another, or in an archive under ``__MACOSX``."""
    path = PurePosixPath(name)
    return path.name.startswith("._") or "__MACOSX" in path.parts


def find_pictures(folder: Path) -> list[str]:
    """Returns the paths of the images in a folder and its sub-folders, from there, sorted.

    Links to folders are followed; what several of them lead to is found once.
    """
    found, seen = [], set()
    for place, sub_folders, names in os.walk(folder, followlinks=True):
        real_place = os.path.realpath(place)
        if real_place in seen:
            sub_folders.clear()
            continue
        seen.add(real_place)
        sub_folders.sort()
        paths = (Path(place, name) for name in names)
        inner = ((path.relative_to(folder).as_posix(), path) for path in paths)
        found += [name for name, path in inner if is_picture(name) and path.is_file()]
    return sorted(found)


def only_one(folder: Path, names: Sequence[str]) -> str | None:
    """Returns the one name under which a folder has a file, or None where it has none.

    Raises:
      UserError: there are several names.
    """
    if len(names) > 1:
        raise UserError(f"{folder}: has {' and '.join(names)}, which mean the same; keep one")
    return names[0] if names else None


class FolderImages:
    """The images in a folder; a name may lead into its sub-folders, but not out of it."""

    def __init__(self, path: Path) -> None:
        """Keeps the path."""
        self.path = path

    def names(self) -> list[str]:
        """Returns the paths of the images in the folder and its sub-folders, sorted."""
        return find_pictures(self.path)

    def read_all(self, names: Iterable[str]) -> Iterator[bytes]:
        """Yields the images' contents one by one."""
        for name in names:
            try:
                yield (self.path / inside(name, self.path)).read_bytes()
            except FileNotFoundError as error:
                raise UserError(
                    f"{self.path / name}: no such file{self.elsewhere(name)}"
                ) from error
            except OSError as error:
                raise UserError(f"{self.path / name}: cannot be read: {error.strerror}") from error

    def elsewhere(self, name: str) -> str:
        """Says where an image that is missing seems to be, or nothing."""
        last = PurePosixPath(name).name
        found = next((other for other in self.names() if PurePosixPath(other).name == last), None)
        if found is None:
            return ""
        return f"; is it {self.path / found}? then move the images, or write {found}"

    def files(self, names: Iterable[str]) -> list[Path]:
        """Returns the files that hold the images."""
        return [self.path / name for name in sorted(names)]


class ZipImages:
    """The images in a zip archive, by file name whatever folder of the archive they are in."""

    def __init__(self, path: Path) -> None:
        """Reads the archive's table of contents.

        Raises:
          UserError: it is no zip, a member's name leads out of it, or two images share a name.
        """
        self.path = path
        self._members: dict[str, str] = {}
        with self._open() as archive:
            members = archive.infolist()
        for member in members:
            # Some programs for Windows write backslashes, which the format forbids.
            name = inside(member.filename, path).replace("\\", "/")
            if member.is_dir() or not is_picture(name):
                continue
            other = self._members.setdefault(PurePosixPath(name).name, member.filename)
            if other != member.filename:
                raise UserError(f"{path}: {other} and {member.filename} have the same name")
            if member.file_size > _MAX_IMAGE_BYTES:
                raise UserError(
                    f"{path}: {member.filename}: has {member.file_size:,} bytes, expected an image "
                    f"of at most {_MAX_IMAGE_BYTES:,}"
                )

    def names(self) -> list[str]:
        """Returns the images' names, sorted."""
        return sorted(self._members)

    def read_all(self, names: Iterable[str]) -> Iterator[bytes]:
        """Yields the images' contents one by one."""
        with self._open() as archive:
            for name in names:
                member = self._members.get(name)
                if member is None:
                    raise UserError(f"{self.path}: has no image {name}")
                try:
                    yield archive.read(member)
                except (OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
                    # RuntimeError: a password, or a compression that Python lacks.
                    raise UserError(f"{self.path}: {member}: cannot be read: {error}") from error

    def files(self, names: Iterable[str]) -> list[Path]:
        """Returns the archive, the one file that holds the images."""
        return [self.path]

    @contextlib.contextmanager
    def _open(self) -> Iterator[zipfile.ZipFile]:
        try:
            archive = zipfile.ZipFile(self.path)
        except (OSError, zipfile.BadZipFile) as error:
            raise UserError(f"{self.path}: cannot be read as a zip archive: {error}") from error
        with archive:
            yield archive

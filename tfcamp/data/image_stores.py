"""Images by name, in a folder or in a zip archive that is never unpacked."""

import contextlib
import zipfile
import zlib
from collections.abc import Iterable, Iterator
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


class FolderImages:
    """The images in a folder; a name may lead into its sub-folders, but not out of it."""

    def __init__(self, path: Path) -> None:
        """Keeps the path."""
        self.path = path

    def names(self) -> list[str]:
        """Returns the names of the images in the folder itself, sorted."""
        paths = (path for path in self.path.iterdir() if path.suffix.lower() in _IMAGE_SUFFIXES)
        return sorted(path.name for path in paths)

    def read_all(self, names: Iterable[str]) -> Iterator[bytes]:
        """Yields the images' contents one by one."""
        for name in names:
            try:
                yield (self.path / inside(name, self.path)).read_bytes()
            except OSError as error:
                raise UserError(f"{self.path / name}: cannot be read: {error.strerror}") from error

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
            # Finder adds a shadow of every file under __MACOSX/.
            parts = PurePosixPath(inside(member.filename, path)).parts
            if member.is_dir() or not parts or parts[0] == "__MACOSX":
                continue
            if PurePosixPath(parts[-1]).suffix.lower() not in _IMAGE_SUFFIXES:
                continue
            other = self._members.setdefault(parts[-1], member.filename)
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

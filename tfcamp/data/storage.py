"""Files on a disk or in a bucket: whatever ``tf.io.gfile`` opens is written and read alike.

Paths on a disk, a shared one too, are ``pathlib``'s. What begins with a scheme (``gs://bucket/run``)
is an ``etils.epath`` path, which has the same methods and leaves the work to ``tf.io.gfile``.
"""

import atexit
import contextlib
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from etils import epath

from tfcamp.errors import UserError

_ADDRESS = re.compile(r"([a-z][a-z0-9]+):/+(.*)")
_CHUNK_BYTES = 16 * 2**20
# Data sets that need no files.
_MADE_HERE = ("sample", "drawings", "reverse")


def as_path(place: str | os.PathLike) -> Path:
    """Returns the path of a place on a disk or in a bucket.

    Args:
      place: also an address that ``pathlib`` has taken a slash from, as it does to options of the
        command line.

    Raises:
      UserError: the scheme is unknown.

    >>> print(as_path(Path("gs://bucket/run")) / "log.txt", as_path("runs/news"))
    gs://bucket/run/log.txt runs/news
    """
    text = os.fspath(place)
    address = _ADDRESS.fullmatch(text)
    if address is None:
        return Path(text)
    scheme, rest = address.groups()
    try:
        return cast(Path, epath.Path(f"{scheme}://{rest}"))
    except KeyError:
        raise UserError(f"{text}: expected a path, or an address such as gs://bucket/run") from None


def is_remote(path: Path) -> bool:
    """Tells whether a path is an address, such as ``gs://bucket/run``."""
    return not isinstance(path, Path)


@contextlib.contextmanager
def remote_errors(path: Path) -> Iterator[None]:
    """Raises TensorFlow's errors about a remote path as a UserError of one line."""
    if not is_remote(path):
        yield
        return
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        reason = str(error.message).partition("\n")[0] or type(error).__name__
        raise UserError(f"{path}: {reason}") from error


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file for writing so that ``path`` is either the old file or the whole new one.

    It is written as ``<name>.partial``, flushed to the disk and renamed: a process that is killed
    leaves at most the partial file behind. A bucket gets it when it is complete.

    Raises:
      OSError: the disk is full or read-only, or the folder is gone; ``path`` is untouched.
      UserError: the same of a remote file.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        if is_remote(path):
            # GFile can neither seek while it writes nor be left halfway without writing a part.
            with remote_errors(path), tempfile.TemporaryFile() as file:
                yield file
                file.seek(0)
                with partial.open("wb") as target:
                    target.write(b"")  # GFile makes a file when it writes, not when it opens it
                    shutil.copyfileobj(file, target, _CHUNK_BYTES)
                partial.replace(path)
        else:
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one to tell
            partial.unlink(missing_ok=True)
        raise


def gone(folder: Path) -> UserError:
    """Returns the error of a training whose folder is not there any more."""
    return UserError(
        f"{folder} is gone: was the run folder moved or deleted? training cannot go on "
        "without it; the same command begins anew"
    )


def write_json(path: Path, value: Any) -> None:
    """Writes JSON so that ``path`` is either the old file or the whole new one."""
    text = json.dumps(value, ensure_ascii=False, indent=2) + "\n"
    with whole_file(path) as file:
        file.write(text.encode())


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty folder that takes a folder's place when the body has filled it.

    So what stands at ``folder`` is never half a data set.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)


@contextlib.contextmanager
def open_to_read(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file that is read here and there; a remote one is fetched first, as a whole.

    Raises:
      OSError: it cannot be read.
      UserError: the same of a remote file.
    """
    if is_remote(path):
        with remote_errors(path):
            content = path.read_bytes()
        yield io.BytesIO(content)
    else:
        with path.open("rb") as file:
            yield file


def bring_here(dataset: str, data_dir: Path | None) -> tuple[str, Path | None]:
    """Fetches a data set that lies in a bucket to a folder of this machine.

    Args:
      dataset: a name, or a path or address of files.
      data_dir: the folder that holds data sets, or its address.

    Returns:
      both, with the copy's path in the place of an address. The copy goes when the process ends.

    Raises:
      UserError: there is nothing at the address.
    """
    place = as_path(dataset)
    if is_remote(place):
        return str(_copy_of(place)), data_dir
    is_elsewhere = dataset not in _MADE_HERE and not place.expanduser().exists()
    if is_elsewhere and data_dir is not None and is_remote(as_path(data_dir)):
        # svhn_full/extra lies in svhn_full.
        return dataset, _copy_of(as_path(data_dir) / dataset.partition("/")[0]).parent
    return dataset, data_dir


def _copy_of(place: Path) -> Path:
    target = Path(tempfile.mkdtemp(prefix="tfcamp-data-")) / place.name
    atexit.register(shutil.rmtree, target.parent, ignore_errors=True)
    with remote_errors(place):
        if not place.exists():
            raise UserError(f"{place}: nothing is there; expected a file or a folder")
        _copy(place, target)
    return target


def _copy(place: Path, target: Path) -> None:
    if place.is_dir():
        target.mkdir()
        for part in place.iterdir():
            _copy(part, target / part.name)
    else:
        with place.open("rb") as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy, _CHUNK_BYTES)


def inside(name: str, where: Path) -> str:
    """Returns a name once it is known not to lead out of the folder or archive that it is in.

    Args:
      name: of a file, as an archive or a list of files has it.
      where: the archive or the folder, for the message.

    Raises:
      UserError: it leads out.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or path.parts[:1] == (f"{name[:1]}:",):
        raise UserError(f"{where}: {name}: leads out of it; expected a name inside")
    return name


class FolderCopy:
    """A local folder whose files are kept in a remote one."""

    def __init__(self, local: Path, remote: Path, *, without: Collection[str]) -> None:
        """Fetches the files of the remote folder, but not its folders.

        Args:
          local: an empty folder.
          remote: there already.
          without: files and folders in ``local`` that are not sent.
        """
        self._local = local
        self._remote = remote
        self._without = set(without)
        self._sent: dict[Path, tuple[int, int]] = {}
        for path in remote.iterdir():
            if not path.is_dir() and path.suffix != ".partial":
                fetched = local / path.name
                fetched.write_bytes(path.read_bytes())
                self._sent[fetched] = _version(fetched)

    def send(self) -> None:
        """Writes the files that are new or have changed."""
        for path in sorted(self._local.rglob("*")):
            name = path.relative_to(self._local)
            unfinished = any(part.endswith(".partial") for part in name.parts)
            if unfinished or name.parts[0] in self._without or path.is_dir():
                continue
            version = _version(path)
            if self._sent.get(path) != version:
                target = self._remote.joinpath(*name.parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with path.open("rb") as file, whole_file(target) as copy:
                    shutil.copyfileobj(file, copy, _CHUNK_BYTES)
                self._sent[path] = version


def _version(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size

"""One process at a time in a folder, or in a part of the program."""

import contextlib
import os
import socket
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, TextIO

from tfcamp.errors import UserError

# So often a folder may be removed at the moment at which a file is to be made in it.
_MOST_TRIES = 1000


class FolderLock:
    """Keeps other processes out of a folder until it is released or this process ends.

    The kernel holds it (``flock``; on NFS, the server), so ``kill -9`` releases it as well. In the
    process that holds it, a new lock takes the folder over: what went before, such as a notebook's
    cell that failed, is over.

    Attributes:
      held: False where the file system has no locks.
    """

    _in_this_process: ClassVar[weakref.WeakValueDictionary[str, "FolderLock"]] = (
        weakref.WeakValueDictionary()
    )

    def __init__(self, folder: Path) -> None:
        """Locks a folder.

        Raises:
          UserError: another process has locked it; the message names it.
        """
        self._path = folder.resolve() / "lock"
        earlier = self._in_this_process.get(str(self._path))
        if earlier is not None:
            earlier.release()
        self._file = open(self._path, "a+", encoding="utf-8")
        # Also when nobody releases it: Python warns of a file that is not closed.
        self._close = weakref.finalize(self, self._file.close)
        self.held = self._try()
        if self.held:
            self._file.truncate(0)
            self._file.write(f"{os.getpid()} {socket.gethostname()}\n")
            self._file.flush()
            self._in_this_process[str(self._path)] = self

    def _try(self) -> bool:
        try:
            import fcntl

            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            process, _, host = self._file.read().strip().partition(" ")
            self.release()
            holder = f"process {process} on {host}" if host else "another process"
            raise UserError(
                f"--run-dir {self._path.parent} is in use by {holder}: wait until it ends, or name "
                "another --run-dir"
            ) from None
        except (ImportError, OSError):  # Windows; a file system that cannot
            return False
        return True

    def is_gone(self) -> bool:
        """Tells whether the locked folder was deleted or moved, or another one is in its place."""
        if not self._close.alive:
            return False
        return not _stands_at(self._path, self._file)

    def release(self) -> None:
        """Lets others have the folder."""
        self._close()


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Lets one process after another into the body; the next one waits, and says so.

    Args:
      path: of the file to lock; it is made, with its folder, and removed in the end.
    """
    while True:
        with _open_to_lock(path) as file:
            _wait_for(file)
            if not _stands_at(path, file):
                continue  # who had it has removed it, and the next to come would lock another one
            try:
                yield
            finally:
                with contextlib.suppress(OSError):
                    path.unlink()
            return


def _open_to_lock(path: Path) -> TextIO:
    """Opens a file, made with its folder, which who had the lock may be removing meanwhile."""
    for _ in range(_MOST_TRIES):
        with contextlib.suppress(FileNotFoundError):
            path.parent.mkdir(parents=True, exist_ok=True)
            return open(path, "a", encoding="utf-8")
    return open(path, "a", encoding="utf-8")  # to say what it is


def _stands_at(path: Path, file: TextIO) -> bool:
    """Tells whether an open file is the one that a path leads to."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _wait_for(file: TextIO) -> None:
    """Locks a file, where the file system can."""
    try:
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for the process that has locked {file.name}", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
    except (ImportError, OSError):  # Windows; a file system that cannot
        pass

"""Everything that training needs to go on as if nothing had happened, in one file a step.

A checkpoint is a ``.npz`` archive: ``numpy.load`` shows what stands in it. It is written under
another name, flushed to the disk and renamed, so a crash while writing loses nothing; each array
carries a CRC-32, which is checked when it is read.
"""

import copy
import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from tfcamp.data.storage import gone, open_to_read, remote_errors, whole_file
from tfcamp.errors import UserError

_STATE = "state.json"


class Checkpoint(NamedTuple):
    """What a file holds: arrays by name, and the state as what JSON can say."""

    arrays: dict[str, np.ndarray]
    state: dict[str, Any]


class Stateful(Protocol):
    """An object whose state belongs into a checkpoint."""

    def get_state(self) -> dict:
        """Returns the state as what JSON can say."""
        ...

    def set_state(self, state: dict) -> None:
        """Takes the state back."""
        ...


def write_checkpoint(path: Path, arrays: Mapping[str, np.ndarray], state: Mapping) -> None:
    """Writes a checkpoint so that ``path`` is either the old file or the whole new one.

    Args:
      path: ends with ``.npz``.
      arrays: arrays by name.
      state: anything JSON can say.

    Raises:
      OSError: the disk is full or read-only; what stood at ``path`` is untouched.
    """
    # A damaged table of contents may hide arrays, so their names stand in the state as well.
    text = json.dumps({"names": list(arrays), "state": state})
    encoded = np.frombuffer(text.encode(), np.uint8)
    for name, array in arrays.items():
        if array.dtype.hasobject:  # would be pickled; NumPy 2.0 cannot be told not to
            raise TypeError(f"{name} holds Python objects: {array.dtype}")
    with whole_file(path) as file:
        members: dict[str, Any] = {_STATE: encoded, **arrays}
        np.savez(file, **members)


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint and checks it.

    Raises:
      ValueError: the file is missing, truncated or damaged.
      UserError: a remote file cannot be fetched.
    """
    try:
        with open_to_read(path) as file, zipfile.ZipFile(file) as archive:
            arrays = {
                name.removesuffix(".npy"): _read_array(archive, name) for name in archive.namelist()
            }
        content = json.loads(arrays.pop(_STATE).tobytes())
        if list(arrays) != content["names"]:
            raise ValueError("arrays are missing")
    except UserError:
        raise
    except Exception as error:  # a flipped bit makes zipfile raise nearly anything
        # Of a remote file that is missing, TensorFlow says nothing.
        raise ValueError(f"{path} is damaged: {str(error) or type(error).__name__}") from error
    return Checkpoint(arrays, content["state"])


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    # Read to its end, where the CRC is checked, before NumPy believes what it says about itself:
    # an array whose shape has become smaller would be read without the rest and the check.
    return np.load(io.BytesIO(archive.read(name)), allow_pickle=False)


class CheckpointFolder:
    """The last few checkpoints of a run, ``step-00001234.npz``, and ``best.npz``."""

    def __init__(self, folder: Path, *, keep: int = 2, writes: bool = True) -> None:
        """Opens the folder.

        Args:
          folder: made when missing; what a killed writer left unfinished in it is removed.
          keep: so many of the newest checkpoints stay.
          writes: False for a worker that only restores: the folder need not exist, nothing in it
            changes, and saving does nothing.
        """
        self.folder = folder
        self.keep = keep
        self.writes = writes
        # Its thread is waited for when the process ends, so that nothing is lost.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")
        self._pending: Future | None = None
        if writes:
            with remote_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
                for path in list(folder.iterdir()):
                    if path.suffix == ".partial":
                        path.unlink(missing_ok=True)

    @property
    def best_path(self) -> Path:
        """The file of the best model so far."""
        return self.folder / "best.npz"

    def steps(self) -> list[int]:
        """Returns the steps at which checkpoints stand, the oldest first."""
        with remote_errors(self.folder):
            paths = list(self.folder.iterdir()) if self.folder.exists() else []
        names = (re.fullmatch(r"step-(\d+)\.npz", path.name) for path in paths)
        return sorted(int(match[1]) for match in names if match)

    def path(self, step: int) -> Path:
        """Returns the file of a step."""
        return self.folder / f"step-{step:08d}.npz"

    def save(
        self, step: int, arrays: Mapping[str, np.ndarray], state: Mapping, *, wait: bool = True
    ) -> Path:
        """Writes the checkpoint of a step and removes those that are too old.

        A checkpoint of a later step is removed too: it is damaged, or the run would not be here.

        Args:
          step: steps taken.
          arrays: arrays by name; they must not change any more.
          state: anything JSON can say.
          wait: whether to return only when the file is on the disk. Otherwise it is written in the
            background, after what is still being written there; if it cannot be, the next
            :meth:`save`, :meth:`save_best`, :meth:`restore` or :meth:`wait` raises the error.

        Raises:
          OSError: the disk is full or read-only; the checkpoints before are untouched.
          UserError: the folder is gone.
        """

        def write(arrays: Mapping, state: Mapping) -> None:
            self._write(self.path(step), arrays, state)
            steps = self.steps()
            kept = [earlier for earlier in steps if earlier <= step][-self.keep :]
            with remote_errors(self.folder):
                for other in set(steps) - set(kept):
                    self.path(other).unlink(missing_ok=True)

        self._begin(write, arrays, state, wait)
        return self.path(step)

    def save_best(
        self, arrays: Mapping[str, np.ndarray], state: Mapping, *, wait: bool = True
    ) -> None:
        """Writes the file of the best model; arguments and errors are those of :meth:`save`.

        A checkpoint that is saved after it is on the disk after it, with ``wait=False`` too.
        """

        def write(arrays: Mapping, state: Mapping) -> None:
            self._write(self.best_path, arrays, state)

        self._begin(write, arrays, state, wait)

    def wait(self) -> None:
        """Waits until nothing is being written any more.

        Raises:
          OSError: the disk was full or read-only; the checkpoints before are untouched.
          UserError: the folder was gone.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Ends the writing thread, after what it is writing.

        Before the run folder is given to others: they would not expect another writer there.
        """
        self._thread.shutdown(wait=True)

    def __enter__(self) -> "CheckpointFolder":
        """Returns the folder, to be closed when the block ends."""
        return self

    def __exit__(self, error_type, *_) -> None:
        """Closes the folder; an error of the last write is raised, unless there is one already."""
        self.close()
        if error_type is None:
            self.wait()

    def restore(self) -> tuple[Checkpoint | None, list[str]]:
        """Reads the newest sound checkpoint.

        Returns:
          the checkpoint, None where there is none; and a line for each damaged file passed over.
        """
        self.wait()
        damaged = []
        for step in reversed(self.steps()):
            try:
                return read_checkpoint(self.path(step)), damaged
            except ValueError as error:
                damaged.append(str(error))
        return None, damaged

    def read_best(self) -> Checkpoint:
        """Reads the file of the best model.

        Raises:
          UserError: it is missing or damaged; no other can take its place.
        """
        self.wait()
        if not self.best_path.exists():
            raise UserError(
                f"{self.folder} has no {self.best_path.name}: no epoch was measured yet; give more "
                "--max-steps or --epochs"
            )
        try:
            return read_checkpoint(self.best_path)
        except ValueError as error:
            raise UserError(f"{error}; train again in another --run-dir") from error

    def _begin(
        self, write: Callable[[Mapping, Mapping], None], arrays: Mapping, state: Mapping, wait: bool
    ) -> None:
        if not self.writes:
            return
        self.wait()
        if wait:
            write(arrays, state)
        else:
            # The loop goes on, and its state with it.
            self._pending = self._thread.submit(write, dict(arrays), copy.deepcopy(state))

    def _write(self, path: Path, arrays: Mapping, state: Mapping) -> None:
        with remote_errors(self.folder):
            if not self.folder.exists():  # a bucket would make it again
                raise gone(self.folder)
        try:
            write_checkpoint(path, arrays, state)
        except FileNotFoundError:
            raise gone(self.folder) from None

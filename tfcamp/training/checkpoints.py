"""Everything that training needs to go on as if nothing had happened, in one file a step.

A checkpoint is a ``.npz`` archive: ``numpy.load`` shows what stands in it. It is written under
another name, flushed to the disk and renamed, so a crash while writing loses nothing; each array
carries a CRC-32, which is checked when it is read.
"""

import json
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_STATE = "state.json"


class Checkpoint(NamedTuple):
    """What a file holds: arrays by name, and the state as what JSON can say."""

    arrays: dict[str, np.ndarray]
    state: dict[str, Any]


def write_checkpoint(path: Path, arrays: Mapping[str, np.ndarray], state: Mapping) -> None:
    """Writes a checkpoint so that ``path`` is either the old file or the whole new one.

    Args:
      path: ends with ``.npz``.
      arrays: arrays by name.
      state: anything JSON can say.

    Raises:
      OSError: the disk is full or read-only; what stood at ``path`` is untouched.
    """
    partial = path.with_suffix(".partial")
    # A damaged table of contents may hide arrays, so their names stand in the state as well.
    text = json.dumps({"names": list(arrays), "state": state})
    try:
        with open(partial, "wb") as file:
            encoded = np.frombuffer(text.encode(), np.uint8)
            np.savez(file, allow_pickle=False, **{_STATE: encoded}, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint and checks it.

    Raises:
      ValueError: the file is truncated or damaged.
    """
    try:
        # np.load leaves a file that it opened itself open when it cannot read it.
        with open(path, "rb") as file, np.load(file) as archive:
            arrays = {name: archive[name] for name in archive.files}
            content = json.loads(arrays.pop(_STATE).tobytes())
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError, RuntimeError) as error:
        # RuntimeError: a flipped bit makes an archive look encrypted or of another version.
        raise ValueError(f"{path} is damaged: {error}") from error
    if list(arrays) != content["names"]:
        raise ValueError(f"{path} is damaged: arrays are missing")
    return Checkpoint(arrays, content["state"])


class CheckpointFolder:
    """The last few checkpoints of a run, ``step-00001234.npz``, and ``best.npz``."""

    def __init__(self, folder: Path, *, keep: int = 2) -> None:
        """Opens the folder, which is made when missing; the newest ``keep`` checkpoints stay."""
        self.folder = folder
        self.keep = keep
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def best_path(self) -> Path:
        """The file of the best model so far."""
        return self.folder / "best.npz"

    def steps(self) -> list[int]:
        """Returns the steps at which checkpoints stand, the oldest first."""
        names = (re.fullmatch(r"step-(\d+)\.npz", path.name) for path in self.folder.iterdir())
        return sorted(int(match[1]) for match in names if match)

    def path(self, step: int) -> Path:
        """Returns the file of a step."""
        return self.folder / f"step-{step:08d}.npz"

    def save(self, step: int, arrays: Mapping[str, np.ndarray], state: Mapping) -> Path:
        """Writes the checkpoint of a step and removes those that are too old.

        A checkpoint of a later step is removed too: it is damaged, or the run would not be here.
        """
        write_checkpoint(self.path(step), arrays, state)
        steps = self.steps()
        kept = [earlier for earlier in steps if earlier <= step][-self.keep :]
        for other in set(steps) - set(kept):
            self.path(other).unlink(missing_ok=True)
        return self.path(step)

    def restore(self) -> tuple[Checkpoint | None, list[str]]:
        """Reads the newest sound checkpoint.

        Returns:
          the checkpoint, None where there is none; and a line for each damaged file passed over.
        """
        damaged = []
        for step in reversed(self.steps()):
            try:
                return read_checkpoint(self.path(step)), damaged
            except ValueError as error:
                damaged.append(str(error))
        return None, damaged

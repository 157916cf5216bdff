"""What the machine has: memory, disks, fonts, an output that can write Chinese, other workers."""

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tfcamp.doctor.findings import Finding, note, ok, problem
from tfcamp.doctor.installation import INSTALL_TPU

GB = 1e9
# What the main job took (measured: 1.0 GB of memory, 35 MB on the disk), and some air.
LEAST_MEMORY, GOOD_MEMORY = 1.1 * GB, 3 * GB
LEAST_DISK, GOOD_DISK = 0.1 * GB, 3 * GB

_CONTROL_GROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Folder:
    """A place that something will be written to.

    Attributes:
      path: the folder; it need not exist yet.
      free: bytes that are free on its disk.
      error: why no file can be written there, None if one can.
    """

    path: Path
    free: int
    error: str | None = None


def look_at_folder(path: Path) -> Folder:
    """Tries to write a file where a folder is or will be made, and takes it away again."""
    place = path.expanduser().absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".tfcamp-") as file:
            file.write(b"tfcamp")
        error = None
    except OSError as caught:
        error = caught.strerror or str(caught)
    try:
        free = shutil.disk_usage(place).free
    except OSError:
        free = 0
    return Folder(path, free, error)


def temporary_folder() -> Folder:
    """Returns the folder for temporary files, where Python finds one."""
    try:
        return look_at_folder(Path(tempfile.gettempdir()))
    except FileNotFoundError as error:  # there is none
        return Folder(Path(os.environ.get("TMPDIR", "/tmp")), 0, error.strerror or str(error))


def cache_folders(environ: Mapping[str, str] = os.environ) -> dict[str, Path]:
    """Returns where data sets and matplotlib's list of fonts are kept; key: what moves them."""
    cache = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return {
        "TFDS_DATA_DIR": Path(environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"),
        "MPLCONFIGDIR": Path(environ.get("MPLCONFIGDIR") or f"{cache}/matplotlib"),
    }


def free_memory(group: Path = _CONTROL_GROUP) -> tuple[int, int]:
    """Returns the bytes of memory that a program could take, and how many there are in all.

    In a container it is the container's limit that counts, which psutil does not know.

    Args:
      group: where Linux says so.
    """
    memory = psutil.virtual_memory()
    free, total = memory.available, memory.total
    try:
        limit = int((group / "memory.max").read_text())  # "max" where there is none
        used = int((group / "memory.current").read_text()) - _cached(group)
    except (OSError, ValueError):
        return free, total
    return max(0, min(free, limit - used)), min(total, limit)


def _cached(group: Path) -> int:
    """Returns the bytes of files that are kept in memory until someone needs the room."""
    for line in (group / "memory.stat").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == "inactive_file":
            return int(value)
    return 0


def check_devices(devices: Sequence[str], cores: int) -> Finding:
    """Names the devices that TensorFlow sees, such as ``GPU:0``.

    >>> check_devices(["CPU:0", "GPU:0"], 8).message
    'CPU:0, GPU:0; 8 processor cores'
    """
    return ok("devices", f"{', '.join(devices)}; {cores} processor cores")


def check_memory(free: int, total: int) -> Finding:
    """Judges the memory, in bytes.

    >>> check_memory(int(6e9), int(8e9)).message
    '6.0 GB free of 8.0 GB'
    """
    message = f"{free / GB:.1f} GB free of {total / GB:.1f} GB"
    if free < LEAST_MEMORY:
        message += f"; the main job takes {LEAST_MEMORY / GB:.1f} GB"
        return problem("memory", message, "close other programs, or give the container more")
    if free < GOOD_MEMORY:
        message += f"; large data sets want {GOOD_MEMORY / GB:.0f} GB"
        return note("memory", message, "close other programs before you train on more")
    return ok("memory", message)


def check_run_folder(folder: Folder) -> Finding:
    """Judges the place of the run folders."""
    if folder.error is not None:
        remedy = "python projects/news/train.py --run-dir ~/run, or any folder that is yours"
        return problem("run folder", f"{folder.path} cannot be written: {folder.error}", remedy)
    message = f"{folder.path}, {folder.free / GB:.1f} GB free"
    if folder.free < LEAST_DISK:
        message += f"; the main job writes up to {LEAST_DISK / GB:.1f} GB"
        return problem("run folder", message, "make room, or name a --run-dir on another disk")
    if folder.free < GOOD_DISK:
        message += f"; large data sets want {GOOD_DISK / GB:.0f} GB"
        return note("run folder", message, "name a --run-dir on another disk for those")
    return ok("run folder", message)


def check_temporary_folder(folder: Folder) -> Finding:
    """Judges the place of temporary files, without which tf.function cannot compile a loop."""
    remedy = "export TMPDIR=~/tmp && mkdir -p ~/tmp"
    if folder.error is not None:
        message = f"{folder.path} cannot be written: {folder.error}"
        return problem("temporary", message, remedy)
    message = f"{folder.path}, {folder.free / GB:.1f} GB free"
    if folder.free < LEAST_DISK:
        return note("temporary", message, remedy)
    return ok("temporary", message)


def check_caches(folders: Mapping[str, Folder]) -> Finding:
    """Judges the places of downloads and caches.

    Args:
      folders: by the environment variable that names each.
    """
    for variable, folder in folders.items():
        if folder.error is not None:
            message = f"{folder.path} cannot be written: {folder.error}; nothing is kept there"
            return note("cache", message, f"export {variable}=FOLDER, a folder that is yours")
    return ok("cache", ", ".join(str(folder.path) for folder in folders.values()))


def check_output(encoding: str | None) -> Finding:
    """Judges whether the names of Chinese classes can be printed.

    >>> check_output("latin-1").remedy
    'export PYTHONIOENCODING=utf-8'
    """
    try:
        "类别".encode(encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        message = f"{encoding} has no Chinese characters, and training prints some"
        return problem("output", message, "export PYTHONIOENCODING=utf-8")
    return ok("output", f"{encoding}")


def check_font(missing: str | None) -> Finding:
    """Judges whether figures can be drawn with Chinese text.

    Args:
      missing: what `save_figure` says of a figure with such text, None if it made a PNG.
    """
    if missing is None:
        return ok("font", "one for Chinese text")
    what, _, remedy = missing.partition("; for PNG install one, for example: ")
    return note("font", what, remedy or "install a font with Chinese characters")


def check_strategy(
    name: str, replicas: int, *, workers: int, error: str | None, installed: Sequence[str]
) -> Finding:
    """Judges what ``--strategy auto`` comes to.

    Args:
      name: class of the strategy.
      replicas: that it has.
      workers: processes that train together, as TF_CONFIG or Slurm describe them; 1 if neither.
      error: what choosing it raised, None if nothing.
      installed: those packages that are TensorFlow.
    """
    if error is not None and "tpu" in error.partition(":")[0]:
        if "tensorflow-tpu" not in installed:
            message = "a TPU is there, or TPU_NAME says so, and this TensorFlow cannot use it"
            return problem("strategy", message, INSTALL_TPU)
        return problem("strategy", error, "choose a TPU runtime, or: unset TPU_NAME")
    if error is not None:
        return problem("strategy", error, "unset TF_CONFIG to train alone, or mend it")
    if workers > 1:
        message = f"this is one of {workers} workers, and training waits for the others"
        return note("strategy", message, "start them all, or: unset TF_CONFIG")
    if "tensorflow-tpu" in installed and "TPU" not in name:
        message = "no TPU, but the TensorFlow that is made for them, which stops at 2.20"
        remedy = "pip uninstall -y tensorflow-tpu && pip install -e ."
        return note("strategy", message, remedy)
    kind = "one device" if replicas == 1 else f"{name}, {replicas} replicas"
    return ok("strategy", kind)

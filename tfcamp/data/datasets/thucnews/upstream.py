"""What is known of thucnews' upstream files, and whether a file on disk is one of them."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from tfcamp.data import downloads

HOMEPAGE = "https://github.com/649453932/Chinese-Text-Classification-Pytorch"
COMMIT = "6cb26819af7b646275aff8a4693676f2849e67f6"
BASE_URL = (
    "https://raw.githubusercontent.com/649453932/Chinese-Text-Classification-Pytorch/"
    f"{COMMIT}/THUCNews/data/"
)


class UpstreamFile(NamedTuple):
    """How a file is recognised.

    Attributes:
      num_lines: its number of lines.
      blob_id: git's id of its content, or None where only the number of lines is known.
    """

    num_lines: int
    blob_id: str | None


# Nobody recorded the hashes of dev.txt and test.txt: the commit in the URL pins them, and their
# number of lines tells a cut or edited copy.
FILES = {
    "train.txt": UpstreamFile(180_000, "ffe8979a12879da0747847aca49e9a6c1d29898f"),
    "dev.txt": UpstreamFile(10_000, None),
    "test.txt": UpstreamFile(10_000, None),
    "class.txt": UpstreamFile(10, "4c20bac1a8a6be2c207f0e97be4c279651d76d21"),
}


def urls() -> dict[str, str]:
    """Returns the address of each file by its name."""
    return {name: BASE_URL + name for name in FILES}


def local_files(folder: Path) -> dict[str, Path] | None:
    """Returns the files by name where a folder has all four, None where it has none.

    Raises:
      UserError: the folder has some of them.
    """
    return downloads.local_files("thucnews", folder, FILES, BASE_URL)


def fetch(folder: Path) -> None:
    """Downloads the files that a folder lacks: see :func:`tfcamp.data.downloads.fetch_files`."""
    downloads.fetch_files("thucnews", folder, urls(), difference)


def difference(name: str, path: Path) -> str | None:
    """Returns how a file differs from upstream's file of that name, or None where it does not."""
    expected = FILES[name]
    if expected.blob_id is not None:
        blob_id = git_blob_id(path)
        if blob_id != expected.blob_id:
            return f"{name} has git blob id {blob_id[:12]}, upstream's has {expected.blob_id[:12]}"
        return None
    num_lines = _count_lines(path)
    if num_lines != expected.num_lines:
        return f"{name} has {num_lines:,} lines, upstream's has {expected.num_lines:,}"
    return None


def git_blob_id(path: Path) -> str:
    """Returns git's id of a file's content: SHA-1 of ``blob <size>``, a NUL byte and the bytes."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 16):
            digest.update(block)
    return digest.hexdigest()


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)

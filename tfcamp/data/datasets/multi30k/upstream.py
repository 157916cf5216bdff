"""What is known of Multi30K's upstream files, and whether a file on disk is one of them."""

from pathlib import Path

from tfcamp.data import downloads

HOMEPAGE = "https://github.com/multi30k/dataset"
COMMIT = "a3d2e0d26b56f3846f66a952536ffed4e401d05a"
BASE_URL = f"https://raw.githubusercontent.com/multi30k/dataset/{COMMIT}/data/task1/raw/"

LANGUAGES = ("de", "en")
# TFDS's name of each split, and upstream's.
SPLITS = {"train": "train", "validation": "val", "test": "test_2016_flickr"}
# SHA-256 of each file's content.
FILES = {
    "train.de.gz": "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
    "train.en.gz": "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
    "val.de.gz": "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
    "val.en.gz": "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
    "test_2016_flickr.de.gz": "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
    "test_2016_flickr.en.gz": "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
}


def urls() -> dict[str, str]:
    """Returns the address of each file by its name."""
    return {name: BASE_URL + name for name in FILES}


def local_files(folder: Path) -> dict[str, Path] | None:
    """Returns the files by name where a folder has all six, None where it has none.

    Raises:
      UserError: the folder has some of them.
    """
    return downloads.local_files("multi30k", folder, FILES, BASE_URL)


def fetch(folder: Path) -> None:
    """Downloads the files that a folder lacks: see :func:`tfcamp.data.downloads.fetch_files`."""
    downloads.fetch_files("multi30k", folder, urls(), difference)


def difference(name: str, path: Path) -> str | None:
    """Returns how a file differs from upstream's file of that name, or None where it does not."""
    return downloads.sha256_difference(name, path, FILES[name])

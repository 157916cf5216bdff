"""What is known of SVHN's archives of whole numbers, and whether a file on disk is one of them."""

from pathlib import Path

from tfcamp.data import downloads

HOMEPAGE = "http://ufldl.stanford.edu/housenumbers/"

# The archives of each configuration of the builder, by the names of their splits.
SPLITS = {"default": ("train", "test"), "extra": ("train", "test", "extra")}
# SHA-256 of each file's content.
FILES = {
    "train.tar.gz": "4b17bb33b6cd8f963493168f80143da956f28ec406cc12f8e5745a9f91a51898",
    "test.tar.gz": "57ac9ceb530e4aa85b55d991be8fc49c695b3d71c6f6a88afea86549efde7fb5",
    "extra.tar.gz": "e857e27d1e65bd1e7d3959b094061777f6506bbc39889a0df3bba6a729d60f9c",
}


def urls(config: str) -> dict[str, str]:
    """Returns the address of each archive of a configuration by its name."""
    return {f"{split}.tar.gz": f"{HOMEPAGE}{split}.tar.gz" for split in SPLITS[config]}


def local_files(folder: Path, config: str) -> dict[str, Path] | None:
    """Returns the archives by name where a folder has all, None where it has none.

    Raises:
      UserError: the folder has some of them.
    """
    name = "svhn_full" if config == "default" else f"svhn_full/{config}"
    return downloads.local_files(name, folder, urls(config), HOMEPAGE)


def fetch(folder: Path, config: str) -> None:
    """Downloads the archives that a folder lacks: see :func:`tfcamp.data.downloads.fetch_files`."""
    downloads.fetch_files("svhn_full", folder, urls(config), difference)


def difference(name: str, path: Path) -> str | None:
    """Returns how a file differs from upstream's file of that name, or None where it does not."""
    return downloads.sha256_difference(name, path, FILES[name])

"""thucnews dataset."""

import http.client
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets.public_api as tfds
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

from tfcamp.data.datasets.thucnews import upstream
from tfcamp.data.text_files import read_tab_separated
from tfcamp.data.text_splits import ClassList
from tfcamp.errors import UserError

CLASSES = (
    "finance",
    "realty",
    "stocks",
    "education",
    "science",
    "society",
    "politics",
    "sports",
    "game",
    "entertainment",
)


class Builder(tfds.core.GeneratorBasedBuilder):
    """Builds thucnews: from ``DATA_DIR/thucnews/*.txt`` where they are, else from upstream."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}  # noqa: RUF012  TFDS's own convention

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "title": tfds.features.Text(),
                    "label": tfds.features.ClassLabel(names=CLASSES),
                }
            ),
            supervised_keys=("title", "label"),
            homepage=upstream.HOMEPAGE,
            license="Code MIT; the titles (Sina News, by way of THUCNews) are for research use.",
            # The order of the files is kept, so that both ways to read them give the same rows.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        files = upstream.local_files(Path(self.data_dir_root) / self.name)
        if files is None:
            files = download_files(dl_manager)
        names = ClassList.read(files["class.txt"]).names
        if names != CLASSES:
            raise ValueError(f"class.txt must name {CLASSES}, got {names}")
        return {
            "train": self._generate_examples(files["train.txt"]),
            "validation": self._generate_examples(files["dev.txt"]),
            "test": self._generate_examples(files["test.txt"]),
        }

    def _generate_examples(self, path: Path) -> Iterator[tuple[int, dict[str, str | int]]]:
        for row in read_tab_separated(path):
            yield row.line, {"title": row.text, "label": int(row.label or "")}


def download_files(dl_manager: tfds.download.DownloadManager) -> dict[str, Path]:
    """Downloads upstream's files and verifies them.

    Returns:
      Path of each file by its upstream name; where it lies is the download manager's affair.

    Raises:
      tfds.download.DownloadError: a downloaded file is not upstream's.
    """
    urls = {name: upstream.BASE_URL + name for name in upstream.FILES}
    files = {}
    for name, url in urls.items():
        # One at a time: when one of several fails, TFDS's threads go on writing the others.
        path = Path(dl_manager.download({name: url})[name])
        if difference := upstream.difference(name, path):
            raise tfds.download.DownloadError(f"{url}: {difference}")
        files[name] = path
    return files


def fetch(folder: Path) -> None:
    """Downloads upstream's files into a folder: all four and verified, or none.

    Raises:
      UserError: no network, a broken download or a folder that cannot be written; says which files
        to put where.
    """
    try:
        # TFDS goes on asking a host that is not there for over three minutes: ask once first.
        with urllib.request.urlopen(upstream.BASE_URL + "class.txt", timeout=10):
            pass
        folder.mkdir(parents=True, exist_ok=True)
        # What breaks off stays in the temporary folder and is never taken for good.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as temporary:
            dl_manager = tfds.download.DownloadManager(
                download_dir=temporary, url_infos=Builder.url_infos
            )
            for name, path in download_files(dl_manager).items():
                path.replace(folder / name)
    except (
        OSError,
        http.client.HTTPException,
        tfds.download.DownloadError,
        NonMatchingChecksumError,
    ) as error:
        reason = (str(error) or repr(error)).splitlines()[0]
        raise UserError(
            f"thucnews: cannot download {upstream.BASE_URL} ({reason}); put its files at "
            f"{', '.join(str(folder / name) for name in upstream.FILES)}"
        ) from error

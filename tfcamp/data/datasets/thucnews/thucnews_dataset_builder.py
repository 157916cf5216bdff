"""thucnews dataset."""

from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets.public_api as tfds

from tfcamp.data.datasets.fetching import download_verified
from tfcamp.data.datasets.thucnews import upstream
from tfcamp.data.text_files import read_tab_separated
from tfcamp.data.text_splits import ClassList

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
            files = download_verified(dl_manager, upstream.urls(), upstream.difference)
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

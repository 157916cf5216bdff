"""multi30k dataset."""

from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets.public_api as tfds

from tfcamp.data.datasets.fetching import download_verified
from tfcamp.data.datasets.multi30k import upstream
from tfcamp.data.parallel_files import read_parallel_lines


class Builder(tfds.core.GeneratorBasedBuilder):
    """Builds multi30k: from ``DATA_DIR/multi30k/*.gz`` where they are, else from upstream."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}  # noqa: RUF012  TFDS's own convention

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.Translation(languages=upstream.LANGUAGES),
            supervised_keys=upstream.LANGUAGES,
            homepage=upstream.HOMEPAGE,
            license="No licence file seen; the captions derive from Flickr30k: for research use.",
            # The order of the files is kept, so that both ways to read them give the same pairs.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        files = upstream.local_files(Path(self.data_dir_root) / self.name)
        if files is None:
            files = download_verified(dl_manager, upstream.urls(), upstream.difference)
        return {
            split: self._generate_examples(files[f"{stem}.de.gz"], files[f"{stem}.en.gz"])
            for split, stem in upstream.SPLITS.items()
        }

    def _generate_examples(self, german: Path, english: Path) -> Iterator[tuple[int, dict]]:
        for number, pair in enumerate(read_parallel_lines(german, english)):
            yield number, {"de": pair.source, "en": pair.target}

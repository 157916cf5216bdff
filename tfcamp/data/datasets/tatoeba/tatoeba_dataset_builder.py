"""tatoeba dataset."""

from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets.public_api as tfds

from tfcamp.data.datasets.fetching import download_verified
from tfcamp.data.datasets.tatoeba import upstream


# Not registered: TFDS has another data set of this name, which stays within reach.
class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # pyright: ignore
    """Builds tatoeba: from ``DATA_DIR/tatoeba/cmn.txt`` or ``cmn-eng.zip``, else from upstream."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}  # noqa: RUF012  TFDS's own convention

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "en": tfds.features.Text(),
                    "zh": tfds.features.Text(),
                    "attribution": tfds.features.Text(),
                }
            ),
            supervised_keys=("en", "zh"),
            homepage=upstream.HOMEPAGE,
            license="CC-BY 2.0 FR; the attribution of each pair names its sentences and authors.",
            # The order of the file is kept, so that both ways to read it give the same pairs.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        path = upstream.local_file(Path(self.data_dir_root) / self.name)
        if path is None:
            files = download_verified(dl_manager, upstream.urls(), upstream.difference)
            path = files[upstream.ARCHIVE]
        splits = ("train", "validation", "test")
        return {split: self._generate_examples(path, split) for split in splits}

    def _generate_examples(self, path: Path, split: str) -> Iterator[tuple[int, dict[str, str]]]:
        for number, pair in enumerate(upstream.read_split(path, split)):
            attributed = {"attribution": pair.attribution}
            yield number, {"en": pair.english, "zh": pair.chinese, **attributed}

"""svhn_full dataset."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets.public_api as tfds

from tfcamp.data.datasets.svhn_full import upstream
from tfcamp.data.datasets.svhn_full.archives import BOX_KEYS, read_archive


class Builder(tfds.core.GeneratorBasedBuilder):
    """Builds svhn_full: from ``DATA_DIR/svhn_full/*.tar.gz`` where they are, else from upstream."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}  # noqa: RUF012  TFDS's own convention
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name="default", description="The splits train and test."),
        tfds.core.BuilderConfig(name="extra", description="Also 202,353 easier numbers, 2 GB."),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        box = {key: tfds.features.Scalar(np.int32) for key in BOX_KEYS}
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "name": tfds.features.Text(),
                    "image": tfds.features.Image(encoding_format="png"),
                    "number": tfds.features.Text(),
                    "digits": tfds.features.Sequence(
                        {"label": tfds.features.ClassLabel(num_classes=10), **box}
                    ),
                }
            ),
            supervised_keys=("image", "number"),
            homepage=upstream.HOMEPAGE,
            license="For non-commercial use only.",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        config = self.builder_config.name
        archives = upstream.local_files(Path(self.data_dir_root) / self.name, config)
        if archives is None:
            # TFDS verifies them by checksums.tsv.
            archives = dl_manager.download(upstream.urls(config))
        return {
            split: self._generate_examples(Path(archives[f"{split}.tar.gz"]))
            for split in upstream.SPLITS[config]
        }

    def _generate_examples(self, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
        for row in read_archive(path):
            columns = dict(zip(BOX_KEYS, row.boxes.T.tolist(), strict=True))
            yield (
                row.name,
                {
                    "name": row.name,
                    "image": io.BytesIO(row.image),
                    "number": row.number,
                    "digits": {"label": [int(digit) for digit in row.number], **columns},
                },
            )

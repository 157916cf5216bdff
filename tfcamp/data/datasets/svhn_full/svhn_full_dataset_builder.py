"""svhn_full dataset."""

import http.client
import io
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets.public_api as tfds
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

from tfcamp.data.datasets.svhn_full.archives import (
    BOX_KEYS,
    HOMEPAGE,
    local_archives,
    read_archive,
)
from tfcamp.errors import UserError

SPLITS = {"default": ("train", "test"), "extra": ("train", "test", "extra")}


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
            homepage=HOMEPAGE,
            license="For non-commercial use only.",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        splits = SPLITS[self.builder_config.name]
        archives = local_archives(Path(self.data_dir_root) / self.name, splits)
        if archives is None:
            urls = {split: f"{HOMEPAGE}{split}.tar.gz" for split in splits}
            archives = {split: Path(path) for split, path in dl_manager.download(urls).items()}
        return {split: self._generate_examples(path) for split, path in archives.items()}

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


def prepare(builder: tfds.core.DatasetBuilder, what_to_do: str) -> None:
    """Builds a data set of this homepage that is not built yet.

    Args:
      builder: svhn_full's or svhn_cropped's.
      what_to_do: for the message, where there is no network.

    Raises:
      UserError: no network, or a broken download.
    """
    try:
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )
    except (
        OSError,
        http.client.HTTPException,
        tfds.download.DownloadError,
        NonMatchingChecksumError,
    ) as error:
        reason = (str(error) or repr(error)).splitlines()[0]
        raise UserError(
            f"{builder.name}: cannot be had from {HOMEPAGE} ({reason}); {what_to_do}"
        ) from error


def check_host(name: str, what_to_do: str) -> None:
    """Asks the homepage once: TFDS goes on asking a host that is not there for minutes.

    Raises:
      UserError: it does not answer.
    """
    try:
        with urllib.request.urlopen(HOMEPAGE, timeout=10):
            pass
    except (OSError, http.client.HTTPException) as error:
        raise UserError(f"{name}: cannot reach {HOMEPAGE} ({error}); {what_to_do}") from error

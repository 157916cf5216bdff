"""multi30k dataset, built from made-up captions."""

from pathlib import Path
from unittest import mock

import tensorflow_datasets.public_api as tfds

from tfcamp.data.datasets.multi30k import multi30k_dataset_builder, upstream
from tfcamp.data.text_splits import sha256_of


class Multi30kTest(tfds.testing.DatasetBuilderTestCase):
    """Tests for multi30k dataset."""

    DATASET_CLASS = multi30k_dataset_builder.Builder
    SPLITS = {"train": 4, "validation": 2, "test": 3}  # noqa: RUF012  TFDS's own convention
    DL_DOWNLOAD_RESULT = {name: name for name in upstream.FILES}  # noqa: RUF012

    def setUp(self):
        """Makes the dummy files the upstream ones."""
        super().setUp()
        folder = Path(self.dummy_data)
        dummies = {name: sha256_of([folder / name]) for name in upstream.FILES}
        self.enter_context(mock.patch.object(upstream, "FILES", dummies))


if __name__ == "__main__":
    tfds.testing.test_main()

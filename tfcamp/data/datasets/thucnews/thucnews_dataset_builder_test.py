"""thucnews dataset, built from made-up titles."""

from pathlib import Path
from unittest import mock

import tensorflow_datasets.public_api as tfds

from tfcamp.data.datasets.thucnews import thucnews_dataset_builder, upstream


class ThucnewsTest(tfds.testing.DatasetBuilderTestCase):
    """Tests for thucnews dataset."""

    DATASET_CLASS = thucnews_dataset_builder.Builder
    SPLITS = {"train": 12, "validation": 3, "test": 4}  # noqa: RUF012  TFDS's own convention
    DL_DOWNLOAD_RESULT = {name: name for name in upstream.FILES}  # noqa: RUF012
    # Only class.txt has a SHA-256 to register: the others are verified by the builder.
    SKIP_CHECKSUMS = True

    def setUp(self):
        """Makes the dummy files the upstream ones."""
        super().setUp()
        folder = Path(self.dummy_data)
        dummies = {
            name: upstream.UpstreamFile(0, upstream.git_blob_id(folder / name))
            for name in upstream.FILES
        }
        self.enter_context(mock.patch.object(upstream, "FILES", dummies))


if __name__ == "__main__":
    tfds.testing.test_main()

"""svhn_full dataset, built from made-up numbers."""

import tensorflow_datasets.public_api as tfds

from tfcamp.data.datasets.svhn_full import svhn_full_dataset_builder, upstream


class SvhnFullTest(tfds.testing.DatasetBuilderTestCase):
    """Tests for svhn_full dataset."""

    DATASET_CLASS = svhn_full_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["extra"]  # noqa: RUF012  TFDS's own convention
    SPLITS = {"train": 3, "test": 2, "extra": 2}  # noqa: RUF012
    DL_DOWNLOAD_RESULT = {  # noqa: RUF012
        name: name for name in upstream.urls("extra")
    }


if __name__ == "__main__":
    tfds.testing.test_main()

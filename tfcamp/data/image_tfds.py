"""SVHN by way of TFDS: ``svhn_cropped``, TFDS's own builder, and ``svhn_full``, ours."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from tfcamp.data.datasets.fetching import build
from tfcamp.data.datasets.svhn_full import archives, svhn_full_dataset_builder, upstream
from tfcamp.data.image_splits import ImageDataset, ImageRow, ImageSplit, count_lengths
from tfcamp.data.text_splits import sha256_of
from tfcamp.vision.digits import check_number


def load_svhn(name: str, root: Path) -> ImageDataset:
    """Opens ``svhn_cropped``, ``svhn_full`` or ``svhn_full/extra``.

    It is built in `root` first where that has not been done. The last tenth of the training split,
    which TFDS has shuffled, is the validation split.

    Raises:
      UserError: it is not there and cannot be downloaded.
    """
    single_digit = name == "svhn_cropped"
    builder = build_svhn(name, root)
    more = "+extra" if name.endswith("/extra") else ""
    read = _read_crops if single_digit else _read_numbers
    train, dev, test = (
        _open_split(builder, part, read) for part in (f"train[:90%]{more}", "train[90%:]", "test")
    )
    notes = [f"{name}: the last tenth of the training split is the validation split"]
    if single_digit:
        notes.append(f"{name}: digits of one house may stand in both")
    files = sorted(Path(builder.data_dir).glob("*.tfrecord*"))
    return ImageDataset(
        name, train, dev, test, sha256_of(files), tuple(notes), single_digit=single_digit
    )


def build_svhn(name: str, root: Path) -> tfds.core.DatasetBuilder:
    """Returns the builder of a data set that is, or now becomes, built in a folder.

    Raises:
      UserError: see :func:`load_svhn`.
    """
    if name == "svhn_cropped":
        builder = tfds.builder(name, data_dir=root)
        if not _is_built(builder):
            build(builder, name, root)
        return builder
    config = "extra" if name.endswith("/extra") else "default"
    builder = svhn_full_dataset_builder.Builder(data_dir=root, config=config)
    if not _is_built(builder):
        folder = root / "svhn_full"
        if upstream.local_files(folder, config) is None:
            upstream.fetch(folder, config)
        # Nothing is left to download.
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )
    return builder


def _is_built(builder: tfds.core.DatasetBuilder) -> bool:
    return (Path(builder.data_dir) / "dataset_info.json").exists()


def _open_split(builder: tfds.core.DatasetBuilder, part: str, read: Any) -> ImageSplit:
    """Counts the lengths of a split's numbers by reading them once."""

    def rows() -> Iterator[ImageRow]:
        examples = builder.as_dataset(
            split=part,
            # The files' bytes: they are decoded as every other image is.
            decoders={"image": tfds.decode.SkipDecoding()},
            shuffle_files=False,
            read_config=tfds.ReadConfig(interleave_cycle_length=1),
        )
        for position, example in enumerate(examples.as_numpy_iterator()):
            yield read(example, position)

    counts = count_lengths(row.number for row in rows())
    return ImageSplit(f"{builder.info.full_name} {part}", sum(counts), counts, rows)


def _read_crops(example: dict[str, Any], position: int) -> ImageRow:
    name = example["id"].decode() if "id" in example else f"{position:06d}.png"
    return ImageRow(name, example["image"], str(int(example["label"])), None)


def _read_numbers(example: dict[str, Any], position: int) -> ImageRow:
    name = example["name"].decode()
    boxes = np.stack([example["digits"][key] for key in archives.BOX_KEYS], axis=1)
    number = check_number(example["number"].decode(), name)
    return ImageRow(name, example["image"], number, boxes.astype(np.int32))

"""SVHN by way of TFDS: ``svhn_cropped``, TFDS's own builder, and ``svhn_full``, ours."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from tfcamp.data.datasets.svhn_full import archives, svhn_full_dataset_builder
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
    if single_digit:
        builder = tfds.builder(name, data_dir=root)
        what_to_do = (
            f"build it where there is a network (tfds build svhn_cropped) and copy its folder to "
            f"{root / name}"
        )
        has_files = False
    else:
        config = "extra" if name.endswith("/extra") else "default"
        builder = svhn_full_dataset_builder.Builder(data_dir=root, config=config)
        splits = svhn_full_dataset_builder.SPLITS[config]
        folder = root / "svhn_full"
        what_to_do = f"put {', '.join(f'{split}.tar.gz' for split in splits)} into {folder}"
        has_files = archives.local_archives(folder, splits) is not None
    if not (Path(builder.data_dir) / "dataset_info.json").exists():
        if not has_files:
            svhn_full_dataset_builder.check_host(name, what_to_do)
        svhn_full_dataset_builder.prepare(builder, what_to_do)
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

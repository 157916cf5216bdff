"""House numbers by name or path: `load_image_dataset` is the one door.

Every file is read through once when it is opened, which decodes each image and names the first bad
one; afterwards rows are streamed at each iteration, so that the memory does not depend on the
images. A row's image is always the content of a PNG or JPEG file: what training reads goes through
the code that the exported model runs, `tfcamp.vision.images.decode_images`.
"""

import difflib
import hashlib
from collections.abc import Iterator
from pathlib import Path

from tfcamp.data.image_crops import load_crops
from tfcamp.data.image_files import (
    LABELS_FILE,
    find_labels,
    is_competition,
    load_competition,
    load_labelled_images,
    write_number_submission,
)
from tfcamp.data.image_splits import (
    ImageDataset,
    ImageRow,
    ImageSplit,
    count_lengths,
    encode_png,
    take_rows,
)
from tfcamp.data.sources import default_data_dir
from tfcamp.data.storage import bring_here
from tfcamp.errors import UserError
from tfcamp.vision.render import draw_number, render_number

__all__ = [
    "ImageDataset",
    "ImageRow",
    "ImageSplit",
    "load_image_dataset",
    "rendered_split",
    "take_rows",
    "write_number_submission",
]

SVHN_DATASETS = ("svhn_cropped", "svhn_full", "svhn_full/extra")
DRAWN_DATASETS = ("sample", "drawings")
KNOWN_DATASETS = (*DRAWN_DATASETS, *SVHN_DATASETS, "street_view", "street_view_digits")
SAMPLE_SEED = 0
SAMPLE_ROWS = {"train": 20_000, "dev": 1_000, "test": 1_000}


def load_image_dataset(
    dataset: str, *, data_dir: Path | None, seed: int, sample_rows: int = SAMPLE_ROWS["train"]
) -> ImageDataset:
    """Opens a data set of house numbers or of single digits.

    Args:
      dataset: one of

        - ``sample``: clear numbers drawn by `tfcamp.vision.render`, always the same ones; the test
          split has fonts and backgrounds of its own;
        - ``drawings``: the same, as hard to read as photographs from Street View;
        - ``svhn_cropped``: single digits, TFDS's builder;
        - ``svhn_full``: whole numbers, ``DATA_DIR/svhn_full/{train,test}.tar.gz``, downloaded if
          absent; ``svhn_full/extra`` adds the 202,353 easier ones to the training split;
        - a folder in the competition's layout, with crops in .npz files, or with a labels.csv
          (`tfcamp.data.image_files` describes them).

        A path is looked up from the working directory first, then in `data_dir`.
      data_dir: the folder that holds data sets, one sub-folder each; None for `default_data_dir()`.
        Either may be in a bucket (`gs://…`): it is copied to this machine first.
      seed: what the random cut of a labels.csv without splits depends on.
      sample_rows: how many drawings there are for training.

    Returns:
      The data set; its `notes` are for the user to read.

    Raises:
      UserError: no such data set, no network, a file or an image that is not as expected.
    """
    dataset, data_dir = bring_here(dataset, data_dir)
    root = data_dir if data_dir is not None else default_data_dir()
    if dataset in DRAWN_DATASETS:
        return _load_drawings(dataset, sample_rows)
    if dataset in SVHN_DATASETS:
        # TFDS takes seconds to import, which only these need cost.
        from tfcamp.data.image_tfds import load_svhn

        return load_svhn(dataset, root)
    for path in (Path(dataset).expanduser(), root / dataset):
        if path.is_dir():
            return _load_folder(path.resolve(), seed)
        if path.exists():
            raise UserError(f"{path}: expected a folder; give the one that holds it")
    raise UserError(_unknown_dataset(dataset))


def rendered_split(
    split: str, num_rows: int, seed: int = SAMPLE_SEED, *, clear: bool = False
) -> ImageSplit:
    """Returns drawings as a split: ``train`` and ``dev`` share fonts, ``test`` has its own.

    Arguments are those of `tfcamp.vision.render.render_number`.

    Raises:
      ValueError: no such split, or num_rows is not positive.
    """
    if split not in SAMPLE_ROWS or num_rows < 1:
        raise ValueError(f"expected {tuple(SAMPLE_ROWS)} and rows, got {split!r} and {num_rows}")

    def rows() -> Iterator[ImageRow]:
        for index in range(num_rows):
            pixels, number, boxes = render_number(seed, index, split, clear=clear)
            yield ImageRow(f"{split}-{index:06d}.png", encode_png(pixels), number, boxes)

    counts = count_lengths(draw_number(seed, index, split) for index in range(num_rows))
    return ImageSplit(f"drawings ({split})", num_rows, counts, rows)


def _load_drawings(name: str, num_train_rows: int) -> ImageDataset:
    """Opens the drawings."""
    if num_train_rows < 1:
        raise UserError(f"{name} needs at least 1 drawing for training, got {num_train_rows}")
    clear = name == "sample"
    splits = {
        split: rendered_split(split, num_train_rows if split == "train" else num_rows, clear=clear)
        for split, num_rows in SAMPLE_ROWS.items()
    }
    # Fonts are drawn by FreeType, whose versions differ in a grey level here and there: a few
    # drawings tell.
    digest = hashlib.sha256(f"{num_train_rows}".encode())
    for split in splits:
        for index in range(16):
            drawing = render_number(SAMPLE_SEED, index, split, clear=clear)
            digest.update(drawing.image.tobytes())
    train, dev, test = splits.values()
    return ImageDataset(name, train, dev, test, digest.hexdigest())


def _load_folder(folder: Path, seed: int) -> ImageDataset:
    """Opens the files of a folder by their names."""
    if (folder / "train.npz").is_file():
        return load_crops(folder)
    labels = find_labels(folder)
    if labels is not None:
        return load_labelled_images(labels, seed=seed)
    if is_competition(folder):
        return load_competition(folder)
    raise UserError(
        f"{folder}: has no train.json (the competition's layout), train.npz (crops) or "
        f"{LABELS_FILE} (columns file,number)"
    )


def _unknown_dataset(dataset: str) -> str:
    """Says that there is no such data set, and what may have been meant."""
    if Path(dataset).name != dataset:
        return f"{dataset}: no such folder"
    close = difflib.get_close_matches(dataset, KNOWN_DATASETS, n=1)
    if close == [dataset]:
        return f"{dataset}: not found; put its files at DATA_DIR/{dataset}/ and name --data-dir"
    hint = f"did you mean {close[0]!r}? " if close else ""
    return (
        f"unknown data set {dataset!r}: {hint}expected {', '.join(KNOWN_DATASETS)}, or the path of "
        "a folder"
    )

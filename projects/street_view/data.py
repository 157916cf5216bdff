"""From pictures to what the model reads: cut out, brought to one size, packed; then augmented.

Pictures are decoded once, by the code that the exported model runs, and kept in ``RUN/data``. A run
that goes on reads them from there: they are compared by the hash of the data set.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from projects.street_view.config import StreetConfig
from tfcamp.data.image_cuts import cut_digits, cut_numbers, join_splits
from tfcamp.data.image_sources import (
    ImageDataset,
    ImageSplit,
    load_image_dataset,
    rendered_split,
    take_rows,
)
from tfcamp.data.packed_images import PackedImages
from tfcamp.data.pipeline import Batch, BatchStream, Transform
from tfcamp.errors import UserError
from tfcamp.runs import Run
from tfcamp.text.corpus import batched
from tfcamp.vision.augment import AugmentConfig, augment, cutmix, mixup
from tfcamp.vision.digits import numbers_to_labels
from tfcamp.vision.images import decode_images, image_sizes
from tfcamp.vision.windows import are_in_view, bounds_of_boxes, random_windows, windows_around

import numpy as np
import tensorflow as tf

ROWS_PER_BATCH = 256
SAMPLE_ROWS = 10_000
# Packed with a margin, a picture is larger than what the model sees of it.
MARGIN_SCALE = 4 / 3


@dataclass(frozen=True)
class StreetData:
    """What preparation yields.

    Attributes:
      dataset: the rows, as they are measured in the end.
      train: the packed training split.
      dev: the packed dev split.
    """

    dataset: ImageDataset
    train: PackedImages
    dev: PackedImages


def load_rows(
    dataset: str,
    *,
    data_dir: Path | None,
    seed: int,
    train_rows: int | None = None,
    digits: bool,
    use_boxes: bool,
    margin: float,
) -> ImageDataset:
    """Opens a data set as a model reads it.

    Args:
      dataset: as for :func:`load_image_dataset`, and so are `data_dir` and `seed`.
      data_dir: see there.
      seed: see there.
      train_rows: how many to train on, the first ones; None for all.
      digits: the model reads one digit, so numbers are cut into theirs.
      use_boxes: pictures of dev and test are cut down to their numbers.
      margin: what is left around them then, as a share of their height.

    Raises:
      UserError: a file cannot be used, or boxes are needed and not there.
    """
    # The sample draws as many as are asked for.
    rows = load_image_dataset(
        dataset, data_dir=data_dir, seed=seed, sample_rows=train_rows or SAMPLE_ROWS
    )
    if train_rows is not None:
        rows = dataclasses.replace(rows, train=take_rows(rows.train, train_rows))
    if digits and _shows_single_digits(rows):
        rows = dataclasses.replace(rows, single_digit=True)
    if (use_boxes or (digits and not rows.single_digit)) and rows.test and not rows.test.labelled:
        note = f"{rows.test.origin}: has no labels, and so no boxes to cut out by; it is left out"
        rows = dataclasses.replace(rows, test=None, notes=(*rows.notes, note))
    if digits:
        return rows if rows.single_digit else cut_digits(rows)
    if use_boxes:
        test = None if rows.test is None else cut_numbers(rows.test, margin)
        return dataclasses.replace(rows, dev=cut_numbers(rows.dev, margin), test=test)
    return rows


def _shows_single_digits(rows: ImageDataset) -> bool:
    """Tells whether all numbers have one digit, and no boxes that it could be cut out by."""
    splits = [split for split in (rows.train, rows.dev, rows.test) if split is not None]
    have_one = all(not any(split.length_counts[1:]) for split in splits)
    return have_one and next(iter(rows.train)).boxes is None


def prepare(config: StreetConfig, run: Run) -> StreetData:
    """Loads the rows, and decodes and packs those that training and its evaluation read.

    Args:
      config: the options.
      run: the files are written to its folder.

    Raises:
      UserError: a file cannot be used, or is not what the run began with.
    """
    dataset = load_rows(
        config.dataset,
        data_dir=config.data_dir,
        seed=config.seed,
        train_rows=config.train_rows,
        digits=not config.reads_numbers,
        use_boxes=config.use_boxes,
        margin=config.margin / 2,
    )
    for note in dataset.notes:
        run.say(note)
    train = dataset.train
    run.say(
        f"{dataset.name}: {len(train):,} training rows, {len(dataset.dev):,} dev rows, "
        f"{len(dataset.test) if dataset.test else 0:,} test rows"
    )
    if config.add_drawings:
        drawings = rendered_split("train", config.add_drawings)
        train = join_splits(train, drawings)
        run.say(f"and {len(drawings):,} drawings to train on")
    run.compare_rows(dataset.name, dataset.sha256)

    height, width = config.image_size
    shows_margins = config.reads_numbers and next(iter(train)).boxes is not None
    scale = MARGIN_SCALE if shows_margins else 1.0
    size = (round(height * scale), round(width * scale))
    folder = run.folder / "data"
    packed = {
        "train": lambda path: _pack(config, run, train, path, size, config.margin),
        # The whole picture, as it will be served.
        "dev": lambda path: _pack(config, run, dataset.dev, path, (height, width), None),
    }
    for name, write in packed.items():
        if not (folder / name).exists():
            write(folder / name)
    return StreetData(dataset, PackedImages(folder / "train"), PackedImages(folder / "dev"))


def train_stream(config: StreetConfig, examples: PackedImages, batch_size: int) -> BatchStream:
    """Returns the shuffled, augmented batches of the training split."""
    return BatchStream(
        examples,
        batch_size,
        seed=config.seed,
        max_length=1,
        static_shapes=True,
        only_full=True,
        transform=training_transform(config),
    )


def evaluation_stream(examples: PackedImages) -> BatchStream:
    """Returns large batches of rows as they are, each row once."""
    return BatchStream(
        examples,
        min(ROWS_PER_BATCH, len(examples)),
        seed=None,
        max_length=1,
        static_shapes=True,
        transform=_scale_pixels,
    )


def training_transform(config: StreetConfig) -> Transform:
    """Returns what changes each training batch at random, as a function of its seed."""
    height, width = config.image_size
    strength = config.augmentation_strength
    amounts = AugmentConfig(
        shift=strength * config.shift,
        scale=strength * config.scale,
        stretch=strength * config.scale,
        rotation=strength * config.rotation,
        shear=strength * config.shear,
        perspective=strength * config.perspective,
        brightness=strength * 0.4 * config.contrast,
        contrast=strength * config.contrast,
        colour=strength * config.colour,
        inversion=strength * config.inversion,
        blur=strength * config.blur,
        noise=strength * config.noise,
        cutout=config.cutout,
    )

    def transform(inputs: Any, labels: Any, weights: Any, seed: tf.Tensor) -> Batch:
        seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 4), num=4)
        images = random_windows(
            inputs["image"],
            inputs["box"],
            seeds[0],
            height,
            width,
            largest_cut=config.margin_cut,
        )
        images = augment(images, seeds[1], amounts)
        if config.mixup or config.cutmix:
            images, labels = _mix(config, images, tf.one_hot(labels, 10), seeds[2:])
        return images, labels, weights

    return transform


def _mix(config: StreetConfig, images: Any, labels: Any, seeds: list[tf.Tensor]) -> Any:
    """Mixes a batch by mixup or by cutmix, or by one of both, drawn anew for each batch."""
    if not config.cutmix:
        return mixup(images, labels, seeds[0], config.mixup)
    if not config.mixup:
        return cutmix(images, labels, seeds[0], config.cutmix)
    return tf.cond(
        tf.random.stateless_uniform([], seeds[1]) < 0.5,
        lambda: mixup(images, labels, seeds[0], config.mixup),
        lambda: cutmix(images, labels, seeds[0], config.cutmix),
    )


def _scale_pixels(inputs: Any, labels: Any, weights: Any, seed: tf.Tensor) -> Batch:
    del seed
    return tf.cast(inputs["image"], tf.float32) / 255.0, labels, weights


def _pack(
    config: StreetConfig,
    run: Run,
    split: ImageSplit,
    folder: Path,
    size: tuple[int, int],
    margin: float | None,
) -> PackedImages:
    """Decodes a split and packs it; with a margin, the part around the boxes, where there are."""
    out_of_view = []

    def batches() -> Iterator[tuple[Any, Any, Any]]:
        for rows in batched(split, ROWS_PER_BATCH):
            encoded = tf.constant([row.image for row in rows])
            sizes = image_sizes(encoded).numpy()
            # Of a row without boxes the whole picture is taken for the number.
            bounds = np.array([[0, 0, width, height] for height, width in sizes])
            for place, row in enumerate(rows if margin is not None else ()):
                if row.boxes is not None and are_in_view(row.boxes, sizes[place]):
                    bounds[place] = bounds_of_boxes(row.boxes)
                elif row.boxes is not None:
                    out_of_view.append(row.name)
            around = windows_around(bounds, sizes, margin or 0.0)
            images, valid = decode_images(encoded, *size, windows=tf.constant(around.windows))
            for row, is_valid in zip(rows, valid.numpy(), strict=True):
                if not is_valid:
                    raise UserError(f"{split.origin}: {row.name} cannot be decoded")
            labels = numbers_to_labels(row.number for row in rows)
            yield images, around.boxes, labels if config.reads_numbers else labels[:, 0]

    packed = PackedImages.write(folder, *size, batches())
    if out_of_view:
        run.say(
            f"{split.origin}: {len(out_of_view):,} of {len(split):,} pictures have a box that lies "
            f"outside of them or has no area, such as {out_of_view[0]}: they are shown whole"
        )
    return packed

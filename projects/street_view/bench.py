"""Measures the speed of the street-view project as ratios of things timed side by side.

    python projects/street_view/bench.py
    python projects/street_view/bench.py --builders

The fixed case is the classifier `resnet` on digits of 32x32 pixels, batches of 64. With --builders
every builder is timed instead. Prints a table and, last, one line of JSON.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from projects.street_view.config import READERS, StreetConfig
from projects.street_view.data import training_transform
from projects.street_view.model import build_loss, build_model
from projects.street_view.predict import DEFAULT_MODEL
from tfcamp.bench import matrix_product, measure_in_turn, median_ratio, untuned
from tfcamp.cli import run_project
from tfcamp.data.image_sources import rendered_split
from tfcamp.data.packed_images import PackedImages
from tfcamp.data.pipeline import Batch, BatchStream
from tfcamp.errors import UserError
from tfcamp.export.image_model import load_image_model
from tfcamp.models import image_classifier
from tfcamp.models.flops import count_flops
from tfcamp.training.checkpoints import CheckpointFolder
from tfcamp.training.optimizers import RowSparseAdam
from tfcamp.training.trainer import Trainer
from tfcamp.vision.images import decode_images

import keras
import numpy as np
import tensorflow as tf

BATCH = 64
NUM_ROWS = 40 * BATCH


@dataclass(frozen=True)
class BenchConfig:
    """Options of ``bench.py``."""

    builders: bool = False
    """Time every builder, in training and in prediction, instead of the fixed case."""
    width_multiplier: float = 1.0
    """Factor on the number of channels of every model."""
    saved_model: Path | None = None
    """A SavedModel whose latency is measured too; the one that comes with the project if there."""
    rounds: int = 5
    """Rounds in which all cases are timed in turn."""
    steps: int = 16
    """Steps of training in each round, and of each compiled call."""

    def __post_init__(self) -> None:
        """Refuses values that cannot work.

        Raises:
          UserError: one line that names the option.
        """
        for name in ("rounds", "steps"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} {getattr(self, name)}: expected at least 1")


def main(config: BenchConfig) -> None:
    """Measure the speed of training, input and prediction as ratios."""
    with tempfile.TemporaryDirectory() as folder:
        if config.builders:
            time_builders(config, Path(folder))
        else:
            time_the_fixed_case(config, Path(folder))


def time_the_fixed_case(config: BenchConfig, folder: Path) -> None:
    """Times `resnet` in the loop, in ``fit`` and in bfloat16, and what feeds it."""
    options = StreetConfig(model="resnet", width_multiplier=config.width_multiplier)
    packed = _random_images(options, folder)
    plain, augmented = _stream(options, packed), _stream(options, packed, augment=True)
    model = build_model(options)
    keras.config.set_dtype_policy("mixed_bfloat16")
    half = build_model(options)
    keras.config.set_dtype_policy("float32")
    speeds = measure_in_turn(
        {
            "loop": _loop(options, model, plain, folder, config.steps),
            "loop, bfloat16": _loop(options, half, plain, folder, config.steps),
            "fit": _fit(options, plain, config.steps),
            "reading + augmentation": lambda: _count_rows(augmented, config.steps),
            "decoding": _decoding(options),
            "prediction": _prediction(model, config.steps),
            "matrix product": matrix_product(),
        },
        rounds=config.rounds,
    )
    flops = 3 * count_flops(model)  # the backward pass does the work twice more
    used = [
        rows * flops / peak
        for rows, peak in zip(speeds["loop"], speeds["matrix product"], strict=True)
    ]
    # One after the other, as if nothing were packed and decoding were repeated in every epoch.
    both = [
        1 / (1 / decoding + 1 / reading)
        for decoding, reading in zip(
            speeds["decoding"], speeds["reading + augmentation"], strict=True
        )
    ]
    speeds["decoding + augmentation"] = both
    results = {
        "loop / fit": median_ratio(speeds, "loop", "fit"),
        "share of the float32 matrix peak": statistics.median(used),
        "bfloat16 / float32": median_ratio(speeds, "loop, bfloat16", "loop"),
        "reading + augmentation / training step": median_ratio(
            speeds, "reading + augmentation", "loop"
        ),
        "decoding + augmentation / training step": median_ratio(
            speeds, "decoding + augmentation", "loop"
        ),
        **_latency(config),
    }
    for name, values in speeds.items():
        print(f"{name:<42}{statistics.median(values):>18,.0f} /s")
    for name, value in results.items():
        print(f"{name:<42}{value:>18.2f}")
    print(json.dumps({"ratios": results, "speeds": speeds}))


def time_builders(config: BenchConfig, folder: Path) -> None:
    """Times every builder and prints a row of a table for each."""
    print("| model | parameters | MFLOP | training, images/s | prediction, images/s |")
    print("|---|---|---|---|---|")
    rows = {}
    for name in (*image_classifier.BUILDERS, *READERS):
        chosen: Any = name
        options = StreetConfig(model=chosen, width_multiplier=config.width_multiplier)
        model = build_model(options)
        stream = _stream(options, _random_images(options, folder / name))
        speeds = measure_in_turn(
            {
                "training": _loop(options, model, stream, folder / name, config.steps),
                "prediction": _prediction(model, config.steps),
            },
            rounds=config.rounds,
        )
        training, prediction = (statistics.median(values) for values in speeds.values())
        parameters, flops = model.count_params(), count_flops(model)
        rows[name] = {
            "parameters": parameters,
            "flops": flops,
            "training": training,
            "prediction": prediction,
        }
        print(
            f"| {name} | {parameters / 1e6:.2f} M | {flops / 1e6:.1f} | {training:,.0f} | "
            f"{prediction:,.0f} |",
            flush=True,
        )
    print(json.dumps(rows))


def _random_images(options: StreetConfig, folder: Path) -> PackedImages:
    """Packs noise of the model's size, with labels that fit the model."""
    random = np.random.default_rng(0)
    height, width = options.image_size

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for _ in range(NUM_ROWS // BATCH):
            images = random.random((BATCH, height, width, 3), np.float32)
            boxes = np.tile([0.0, 0.0, 1.0, 1.0], (BATCH, 1))
            labels = random.integers(0, 10, (BATCH, 6) if options.reads_numbers else BATCH)
            if options.reads_numbers:
                labels[:, 3:] = -1
            yield images, boxes, labels

    return PackedImages.write(folder / "rows", height, width, batches())


def _stream(options: StreetConfig, packed: PackedImages, *, augment: bool = False) -> BatchStream:
    def scale(inputs: dict, labels: tf.Tensor, weights: tf.Tensor, seed: tf.Tensor) -> Batch:
        del seed
        return tf.cast(inputs["image"], tf.float32) / 255.0, labels, weights

    transform = training_transform(options) if augment else scale
    return BatchStream(packed, BATCH, 0, 1, static_shapes=True, only_full=True, transform=transform)


def _loop(
    options: StreetConfig, model: keras.Model, stream: BatchStream, folder: Path, steps: int
) -> Callable[[], float]:
    checkpoints = CheckpointFolder(folder / "checkpoints")
    trainer = Trainer(model, RowSparseAdam(1e-4), build_loss(options), checkpoints=checkpoints)
    batches = trainer.distribute(stream)

    def run() -> float:
        trainer.advance(batches, steps, stream.steps_per_epoch)
        return steps * BATCH

    return run


def _fit(options: StreetConfig, stream: BatchStream, steps: int) -> Callable[[], float]:
    model = build_model(options)
    model.compile(
        keras.optimizers.Adam(1e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=steps,
    )
    batches = untuned(stream.dataset())

    def run() -> float:
        model.fit(batches, steps_per_epoch=steps, epochs=1, shuffle=False, verbose=0)
        return steps * BATCH

    return run


def _prediction(model: keras.Model, steps: int) -> Callable[[], float]:
    images = tf.random.uniform([BATCH, *model.input.shape[1:]])
    predict = tf.function(lambda images: model(images, training=False))

    def run() -> float:
        for _ in range(steps):
            outputs = predict(images)
        tf.nest.flatten(outputs)[0].numpy()  # wait for it
        return steps * BATCH

    return run


def _count_rows(stream: BatchStream, steps: int) -> float:
    return sum(len(labels) for _, labels, _ in islice(stream.dataset(), steps))


def _decoding(options: StreetConfig) -> Callable[[], float]:
    encoded = tf.constant([row.image for row in rendered_split("train", 256)])
    decode = tf.function(lambda encoded: decode_images(encoded, *options.image_size).images)

    def run() -> float:
        return len(decode(encoded).numpy())

    return run


def _latency(config: BenchConfig) -> dict[str, float]:
    folder = config.saved_model or DEFAULT_MODEL
    if config.saved_model is None and not folder.exists():
        return {}
    model = load_image_model(folder)
    times = []
    images = [row.image for row in rendered_split("test", 100)]
    for image in images * 2:
        started = time.perf_counter()
        model([image])
        times.append(1000 * (time.perf_counter() - started))
    p50, p99 = np.percentile(times[len(images) :], [50, 99])
    return {
        "latency of one picture, p50, ms": float(p50),
        "latency of one picture, p99, ms": float(p99),
    }


if __name__ == "__main__":
    run_project(main, BenchConfig)

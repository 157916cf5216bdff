"""Measures the speed of the news project as ratios of things timed side by side.

    python projects/news/bench.py

The fixed case is a plain BiLSTM of 128 units in each direction (its end states, no dropout) over 32
tokens, batches of 128, and an embedding of 50,000 x 128 that is trained. Prints a table and, last,
one line of JSON.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from projects.news.predict import DEFAULT_MODEL
from tfcamp.bench import matrix_product, measure_in_turn, median_ratio, untuned
from tfcamp.cli import run_project
from tfcamp.data.packed_text import PackedExamples
from tfcamp.data.pipeline import BatchStream
from tfcamp.data.sources import load_text_dataset
from tfcamp.errors import UserError
from tfcamp.export.saved_model import ServedTextClassifier, load_text_classifier
from tfcamp.losses import cross_entropy
from tfcamp.models.text_classifier import TextClassifierConfig, build_text_classifier
from tfcamp.text import ChineseSegmenter, TextEncoder, TextTokenizer, Vocabulary
from tfcamp.training.checkpoints import CheckpointFolder
from tfcamp.training.optimizers import RowSparseAdam
from tfcamp.training.trainer import Trainer

import jieba
import keras
import numpy as np
import psutil
import tensorflow as tf

VOCABULARY, LENGTH, WIDTH, BATCH, CLASSES = 50_000, 32, 128, 128, 10
NUM_ROWS = 200 * BATCH
# Multiplications and additions for one row: two matrices for four gates, two directions, each
# step; the backward pass does the work twice more.
FLOPS_PER_ROW = 3 * 2 * LENGTH * 2 * (WIDTH + WIDTH) * 4 * WIDTH


@dataclass(frozen=True)
class BenchConfig:
    """Options of ``bench.py``."""

    dataset: str = "sample"
    """Where the titles for the segmenter and the latency come from."""
    data_dir: Path | None = None
    """Folder that holds data sets, one sub-folder each."""
    saved_model: Path = DEFAULT_MODEL
    """The SavedModel whose latency is measured."""
    rounds: int = 5
    """Rounds in which all cases are timed in turn."""
    steps: int = 32
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
    """Measure training, input, segmentation and prediction speed as ratios."""
    model = load_text_classifier(config.saved_model)
    dataset = load_text_dataset(config.dataset, data_dir=config.data_dir, seed=0)
    titles = [row.text for row, _ in zip(dataset.train, range(4096), strict=False)]
    with tempfile.TemporaryDirectory() as folder:
        stream = _random_stream(Path(folder))
        checkpoints = Path(folder) / "checkpoints"
        trainer, saving = _trainer(checkpoints), _trainer(checkpoints)
        dense = _trainer(checkpoints, optimizer=keras.optimizers.Adam)
        frozen = _trainer(checkpoints, train_embeddings=False)
        speeds = measure_in_turn(
            {
                "loop": _loop(trainer, stream, config.steps),
                "loop, with a checkpoint": _loop(saving, stream, config.steps, save=True),
                "loop, dense Adam": _loop(dense, stream, config.steps),
                "loop, frozen": _loop(frozen, stream, config.steps),
                "fit": _fit(stream, config.steps, steps_per_execution=config.steps),
                "fit, a step a call": _fit(stream, config.steps, steps_per_execution=1),
                "input": lambda: _count_rows(stream),
                "matrix product": matrix_product(),
            },
            rounds=config.rounds,
        )
        data_wait, growth = _ten_epochs(Path(folder))
    speeds |= measure_in_turn(_text_cases(titles), rounds=config.rounds)
    used = [
        rows * FLOPS_PER_ROW / flops
        for rows, flops in zip(speeds["loop"], speeds["matrix product"], strict=True)
    ]
    results = {
        "loop / fit": median_ratio(speeds, "loop", "fit"),
        "loop / fit, a step a call": median_ratio(speeds, "loop", "fit, a step a call"),
        "loop / loop with Keras's dense Adam": median_ratio(speeds, "loop", "loop, dense Adam"),
        "loop / loop with the embedding frozen": median_ratio(speeds, "loop", "loop, frozen"),
        "share of the float32 matrix peak": statistics.median(used),
        "time lost to a checkpoint a minute, %": 100 * _seconds_lost(speeds, config.steps) / 60,
        "time lost waiting for data, %": 100 * data_wait,
        "memory after ten epochs / after two": growth,
        "input / training step": median_ratio(speeds, "input", "loop"),
        "raw text to ids / training step": _titles_per_second(speeds["encoder"], titles)
        / statistics.median(speeds["loop"]),
        "segmenter / jieba": median_ratio(speeds, "segmenter", "jieba"),
        **_latency(model, titles),
    }
    for name, values in speeds.items():
        print(f"{name:<40}{statistics.median(values):>18,.0f} /s")
    for name, value in results.items():
        print(f"{name:<40}{value:>18.2f}")
    print(json.dumps({"ratios": results, "speeds": speeds}, ensure_ascii=False))


def _titles_per_second(characters_per_second: list[float], titles: list[str]) -> float:
    return statistics.median(characters_per_second) * len(titles) / sum(map(len, titles))


def _random_stream(folder: Path, num_rows: int = NUM_ROWS) -> BatchStream:
    random = np.random.default_rng(0)
    # Frequencies of words fall like 1 / rank.
    ids = np.minimum(random.zipf(1.2, (num_rows, LENGTH)) + 1, VOCABULARY - 1).astype(np.int32)
    ragged = tf.RaggedTensor.from_uniform_row_length(ids.reshape(-1), LENGTH)
    labels = random.integers(0, CLASSES, num_rows).tolist()
    examples = PackedExamples.write(folder / "rows", ["word"], [({"word": ragged}, labels)])
    return BatchStream(examples, BATCH, seed=0, max_length=LENGTH)


def _model(train_embeddings: bool = True) -> keras.Model:
    keras.utils.set_random_seed(0)
    config = TextClassifierConfig(
        {"word": VOCABULARY},
        CLASSES,
        embedding_dim=WIDTH,
        width=WIDTH,
        pooling=("last",),
        dropout=0.0,
        token_dropout=0.0,
        spatial_dropout=0.0,
        train_embeddings=train_embeddings,
    )
    return build_text_classifier("bilstm", config)


def _trainer(
    checkpoints: Path,
    *,
    optimizer: type[keras.optimizers.Adam] = RowSparseAdam,
    train_embeddings: bool = True,
) -> Trainer:
    return Trainer(
        _model(train_embeddings),
        optimizer(1e-3),
        cross_entropy,
        checkpoints=CheckpointFolder(checkpoints),
    )


def _loop(
    trainer: Trainer, stream: BatchStream, steps: int, *, save: bool = False
) -> Callable[[], float]:
    """Takes steps in one call; while a checkpoint is written beside it, where asked for."""
    batches = trainer.distribute(stream)

    def run() -> float:
        if save:
            trainer.save(wait=False)
        trainer.advance(batches, steps, stream.steps_per_epoch)
        trainer.checkpoints.wait()
        return steps * BATCH

    return run


def _seconds_lost(speeds: dict[str, list[float]], steps: int) -> float:
    """Returns how much longer the steps take while a checkpoint is written beside them."""
    pairs = zip(speeds["loop, with a checkpoint"], speeds["loop"], strict=True)
    return statistics.median(
        steps * BATCH / with_it - steps * BATCH / without for with_it, without in pairs
    )


def _ten_epochs(folder: Path) -> tuple[float, float]:
    """Trains ten epochs of a few steps.

    Returns:
      the share of the time spent waiting for data, and the memory of the process after ten epochs
      as a multiple of that after two.
    """
    stream = _random_stream(folder / "ten", num_rows=10 * BATCH)
    waits, sizes = [], []
    trainer = _trainer(folder / "ten/checkpoints")
    for progress in trainer.epochs(stream, 10):
        trainer.save()
        waits.append(progress.data_wait)
        sizes.append(psutil.Process().memory_info().rss)
    return statistics.median(waits), sizes[-1] / sizes[1]


def _fit(stream: BatchStream, steps: int, *, steps_per_execution: int) -> Callable[[], float]:
    model = _model()
    model.compile(
        keras.optimizers.Adam(1e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=steps_per_execution,
    )
    batches = untuned(stream.dataset())

    def run() -> float:
        model.fit(batches, steps_per_epoch=steps, epochs=1, shuffle=False, verbose=0)
        return steps * BATCH

    return run


def _count_rows(stream: BatchStream) -> float:
    return sum(len(labels) for _, labels, _ in stream.dataset(num_epochs=1))


def _text_cases(titles: list[str]) -> dict[str, Callable[[], float]]:
    characters = sum(map(len, titles))
    jieba.setLogLevel("WARNING")
    jieba.initialize()
    segmenter = ChineseSegmenter()
    tokenizer = TextTokenizer(segmenter, ("word",), max_length=LENGTH)
    encoder = TextEncoder(tokenizer, {"word": Vocabulary.fit({"新闻": 1})})
    signature = [tf.TensorSpec([None], tf.string)]

    def over_titles(function: Callable) -> Callable[[], float]:
        compiled = tf.function(function, input_signature=signature)

        def run() -> float:
            for i in range(0, len(titles), 1024):
                compiled(tf.constant(titles[i : i + 1024]))
            return characters

        return run

    def cut_with_jieba() -> float:
        for title in titles:
            jieba.lcut(title, HMM=False)
        return characters

    return {
        "jieba": cut_with_jieba,
        "segmenter": over_titles(segmenter),
        "encoder": over_titles(encoder.encode),
    }


def _latency(model: ServedTextClassifier, titles: list[str]) -> dict[str, float]:
    times = []
    for title in titles[:200] * 2:
        started = time.perf_counter()
        model([title])
        times.append(1000 * (time.perf_counter() - started))
    p50, p99 = np.percentile(times[len(times) // 2 :], [50, 99])
    return {
        "latency of one title, p50, ms": float(p50),
        "latency of one title, p99, ms": float(p99),
    }


if __name__ == "__main__":
    run_project(main, BenchConfig)

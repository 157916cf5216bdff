"""A few seconds of what training does: a matrix product, its input, its steps."""

import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from tfcamp.bench import matrix_product
from tfcamp.data.packed_text import PackedExamples
from tfcamp.data.pipeline import BatchStream
from tfcamp.data.sources import load_text_dataset
from tfcamp.losses import cross_entropy
from tfcamp.models.text_classifier import TextClassifierConfig, build_text_classifier
from tfcamp.text import ChineseSegmenter, TextEncoder, TextTokenizer, Vocabulary
from tfcamp.training.checkpoints import CheckpointFolder
from tfcamp.training.optimizers import RowSparseAdam
from tfcamp.training.step import StepOptions
from tfcamp.training.trainer import Trainer

_LENGTH, _BATCH, _STEPS = 32, 128, 4


def measure(
    seconds: float, strategy: tf.distribute.Strategy, report: Callable[[str, float], None]
) -> None:
    """Measures a few speeds in so many seconds, most of which go into setting things up.

    Args:
      seconds: for all of it, and more only where that is too little to measure each speed once.
      strategy: what training would use.
      report: is told each speed as soon as it is known: ``matrix`` in floating-point operations,
        ``words`` in headlines cut into words, ``input`` in rows read in batches and ``training``
        in rows trained on, each a second.
    """
    start = time.perf_counter()
    on_tpu = isinstance(strategy, tf.distribute.TPUStrategy)
    device = best_device()
    size = 1024 if device == "CPU:0" else 4096
    with tf.device(device):
        report("matrix", _speed(matrix_product(size), start + 0.15 * seconds))
    dataset = load_text_dataset("sample", data_dir=None, seed=0)
    rows = [(row.text, row.label) for row in dataset.train if row.label is not None]
    texts, labels = tf.constant([text for text, _ in rows]), [label for _, label in rows]
    tokenizer = TextTokenizer(ChineseSegmenter(), ("word",), max_length=_LENGTH)
    words = tokenizer(texts)["word"].flat_values.numpy()
    encoder = TextEncoder(
        tokenizer, {"word": Vocabulary.fit(Counter(word.decode() for word in words))}
    )
    encode = tf.function(encoder.encode)

    def cut_into_words() -> float:
        encode(texts)["word"].flat_values.numpy()  # wait for it
        return len(rows)

    report("words", _speed(cut_into_words, start + 0.45 * seconds))
    with tempfile.TemporaryDirectory() as folder:
        packed = PackedExamples.write(Path(folder) / "rows", ["word"], [(encode(texts), labels)])
        stream = BatchStream(packed, _BATCH, seed=0, max_length=_LENGTH, static_shapes=on_tpu)

        def read() -> float:
            return sum(len(labels) for _, labels, _ in stream.dataset(num_epochs=4))

        report("input", _speed(read, start + 0.55 * seconds))
        with strategy.scope():
            config = TextClassifierConfig(encoder.streams, len(dataset.classes))
            model = build_text_classifier("bilstm", config)
            optimizer = RowSparseAdam(1e-3)
        trainer = Trainer(
            model,
            optimizer,
            cross_entropy,
            checkpoints=CheckpointFolder(Path(folder) / "checkpoints"),
            strategy=strategy,
            options=StepOptions(dense_gradients=on_tpu),
        )
        batches = trainer.distribute(stream)

        def take_steps() -> float:
            trainer.advance(batches, _STEPS, stream.steps_per_epoch)
            return _STEPS * _BATCH

        report("training", _speed(take_steps, start + seconds))


def best_device() -> str:
    """Returns the device that a model would compute on, such as ``GPU:0``."""
    found = {device.device_type for device in tf.config.list_logical_devices()}
    return next(f"{kind}:0" for kind in ("TPU", "GPU", "CPU") if kind in found)


def _speed(run: Callable[[], float], end: float) -> float:
    """Returns the median of the work a second, after one round that does not count.

    Args:
      run: does some work and returns how much it was.
      end: time by `time.perf_counter` after which no further round begins; one always does.
    """
    run()
    speeds: list[float] = []
    while not speeds or time.perf_counter() < end:
        started = time.perf_counter()
        work = run()
        speeds.append(work / (time.perf_counter() - started))
    return statistics.median(speeds)

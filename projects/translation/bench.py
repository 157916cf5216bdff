"""Measures the speed of the translation project as ratios of things timed side by side.

    python projects/translation/bench.py
    python projects/translation/bench.py --size tiny

The fixed case is the Transformer `small` with 8,000 joint subwords and batches of 2,048 tokens, on
made-up sentences about as long as image captions. Prints a table and, last, one line of JSON.
"""

import functools
import json
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from projects.translation.config import TranslationConfig
from projects.translation.model import build_model
from tfcamp.bench import matrix_product, measure_in_turn, median_ratio, untuned
from tfcamp.cli import run_project
from tfcamp.data.packed_pairs import PackedPairs
from tfcamp.data.pipeline import BatchStream
from tfcamp.data.plans import TokenBudget, choose_buckets
from tfcamp.decoding.beam import decode_by_beam
from tfcamp.decoding.greedy import decode_greedily
from tfcamp.errors import UserError
from tfcamp.losses import cross_entropy
from tfcamp.losses.classification import class_losses
from tfcamp.models.steps import Steps, steps_of
from tfcamp.models.transformer import SIZES
from tfcamp.text.vocabulary import END_ID
from tfcamp.training.checkpoints import CheckpointFolder
from tfcamp.training.optimizers import RowSparseAdam
from tfcamp.training.trainer import Trainer

import keras
import numpy as np
import tensorflow as tf

VOCABULARY = 8_000
BATCH_TOKENS = 2_048
# Rows and tokens of the batches that loop and fit are compared on.
EQUAL_ROWS, EQUAL_LENGTH = 64, 32
NUM_PAIRS = 20_000
TARGET_LENGTH = 64


@dataclass(frozen=True)
class BenchConfig:
    """Options of ``bench.py``."""

    size: Literal["tiny", "small", "base", "big"] = "small"
    """The named size of the Transformer."""
    rounds: int = 5
    """Rounds in which all cases are timed in turn."""
    steps: int = 8
    """Steps of training in each round, and of each compiled call."""
    decoding: bool = True
    """Whether decoding is timed, too."""

    def __post_init__(self) -> None:
        """Refuses values that cannot work.

        Raises:
          UserError: one line that names the option.
        """
        for name in ("rounds", "steps"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} {getattr(self, name)}: expected at least 1")


def main(config: BenchConfig) -> None:
    """Measure the speed of training and decoding as ratios."""
    with tempfile.TemporaryDirectory() as name:
        results, speeds = time_training(config, Path(name))
    if config.decoding:
        for part in time_decoding(config):
            speeds |= part
        results["cached / uncached beam search"] = median_ratio(
            speeds, "beam 4, 8 sentences, cached", "beam 4, 8 sentences, uncached"
        )
    for case, values in speeds.items():
        print(f"{case:<52}{statistics.median(values):>18,.1f} /s")
    for ratio, value in results.items():
        print(f"{ratio:<52}{value:>18.2f}")
    print(json.dumps({"ratios": results, "speeds": speeds}))


def time_training(
    config: BenchConfig, folder: Path
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Times the loop on equal batches beside ``fit``, and on buckets beside padded batches.

    Returns:
      the ratios, and the speeds in target tokens (not padding) a second.
    """
    random = np.random.default_rng(0)
    equal = np.full((40 * EQUAL_ROWS, 2), EQUAL_LENGTH)
    alike = BatchStream(
        _made_up_pairs(folder / "equal", equal),
        EQUAL_ROWS,
        seed=0,
        max_length=(EQUAL_LENGTH, EQUAL_LENGTH),
        static_shapes=True,
    )
    # About the lengths of image captions: 15 subwords and more, both sides of about the same.
    source = random.lognormal(np.log(15), 0.35, NUM_PAIRS)
    target = source * random.lognormal(0, 0.15, NUM_PAIRS)
    lengths = np.stack([source, target], axis=1).round().astype(int).clip(3, TARGET_LENGTH)
    pairs = _made_up_pairs(folder / "pairs", lengths)
    *smaller, largest = choose_buckets(pairs.lengths)
    buckets = BatchStream(
        pairs, TokenBudget(BATCH_TOKENS), seed=0, max_length=largest, bucket_lengths=tuple(smaller)
    )
    # As many rows as the buckets have in a batch on average, in any order.
    mean_rows = round(NUM_PAIRS / buckets.steps_per_epoch)
    padded = BatchStream(pairs, mean_rows, seed=0, max_length=largest)

    model = _build(config, "float32")
    half = _build(config, "mixed_bfloat16")
    speeds = measure_in_turn(
        {
            "loop, equal batches": _loop(model, alike, folder / "a", config.steps),
            "loop, equal batches, bfloat16": _loop(half, alike, folder / "b", config.steps),
            "fit, equal batches": _fit(_build(config, "float32"), alike, config.steps),
            "loop, token buckets": _loop(model, buckets, folder / "c", config.steps),
            "loop, token buckets, bfloat16": _loop(half, buckets, folder / "d", config.steps),
            "loop, shuffled padded batches": _loop(model, padded, folder / "e", config.steps),
            "matrix product": matrix_product(),
        },
        rounds=config.rounds,
    )
    flops = 3 * _flops_per_pair(config) / EQUAL_LENGTH
    used = [
        tokens * flops / peak
        for tokens, peak in zip(
            speeds["loop, equal batches"], speeds["matrix product"], strict=True
        )
    ]
    ratios = {
        "loop / fit": median_ratio(speeds, "loop, equal batches", "fit, equal batches"),
        "share of the float32 matrix peak": statistics.median(used),
        "bfloat16 / float32": median_ratio(
            speeds, "loop, equal batches, bfloat16", "loop, equal batches"
        ),
        "token buckets / shuffled padded batches": median_ratio(
            speeds, "loop, token buckets", "loop, shuffled padded batches"
        ),
        "share of tokens in buckets": buckets.padding().token_share,
        "share of tokens in shuffled padded batches": padded.padding().token_share,
    }
    return ratios, speeds


def time_decoding(config: BenchConfig) -> Iterator[dict[str, list[float]]]:
    """Yields sentences a second, of 15 subwords and translations of `TARGET_LENGTH`."""
    model = _build(config, "float32")
    steps = steps_of(model)
    random = np.random.default_rng(0)
    source = random.integers(END_ID + 1, VOCABULARY, (64, 15)).astype(np.int32)

    def case(steps: Steps, rows: int, beam_size: int) -> Callable[[], float]:
        if beam_size == 1:
            search: Any = functools.partial(decode_greedily, steps)
        else:
            search = functools.partial(decode_by_beam, steps, beam_size=beam_size, num_best=1)
        decode = tf.function(functools.partial(search, max_length=TARGET_LENGTH))
        sentences = tf.constant(source[:rows])

        def run() -> float:
            decode(sentences).ids.numpy()
            return rows

        return run

    yield measure_in_turn(
        {
            f"{name}, {rows} sentence{'s' * (rows > 1)}": case(steps, rows, beam_size)
            for rows in (1, 64)
            for name, beam_size in {"greedy": 1, "beam 4": 4}.items()
        },
        rounds=config.rounds,
    )
    yield measure_in_turn(
        {
            "beam 4, 8 sentences, cached": case(steps, 8, 4),
            "beam 4, 8 sentences, uncached": case(_uncached(model), 8, 4),
        },
        rounds=config.rounds,
    )


def _uncached(model: keras.Model) -> Steps:
    """Returns steps that read all that was written again for each token."""

    def begin(source: tf.Tensor, max_length: int) -> tuple[Any, Any]:
        return source, tf.zeros([tf.shape(source)[0], max_length], tf.int32)

    def step(ids: tf.Tensor, position: tf.Tensor, source: tf.Tensor, written: tf.Tensor) -> Any:
        num_hypotheses = tf.shape(written)[0] // tf.shape(source)[0]
        is_here = tf.range(tf.shape(written)[1]) == position
        written = tf.where(is_here, ids[:, tf.newaxis], written)
        source = tf.repeat(source, num_hypotheses, axis=0)
        logits = model({"source": source, "target": written}, training=False)
        return logits[:, position], written

    return Steps(begin, step)


def _build(config: BenchConfig, policy: str) -> keras.Model:
    keras.config.set_dtype_policy(policy)
    options = TranslationConfig(size=config.size, max_tokens=TARGET_LENGTH)
    model = build_model(options, VOCABULARY, VOCABULARY, dropout=0.1, num_layers=None)
    keras.config.set_dtype_policy("float32")
    return model


def _made_up_pairs(folder: Path, lengths: np.ndarray) -> PackedPairs:
    """Packs pairs of random tokens, int[N, 2] of them."""
    random = np.random.default_rng(0)

    def side(column: np.ndarray) -> tf.RaggedTensor:
        ids = random.integers(END_ID + 1, VOCABULARY, column.sum()).astype(np.int32)
        ids[np.cumsum(column) - 1] = END_ID
        return tf.RaggedTensor.from_row_lengths(ids, column)

    return PackedPairs.write(folder, [(side(lengths[:, 0]), side(lengths[:, 1]))])


def _loop(model: keras.Model, stream: BatchStream, folder: Path, steps: int) -> Callable[[], float]:
    loss = functools.partial(cross_entropy, label_smoothing=0.1)
    trainer = Trainer(model, RowSparseAdam(1e-4), loss, checkpoints=CheckpointFolder(folder))
    batches = trainer.distribute(stream)

    def run() -> float:
        return float(trainer.advance(batches, steps, stream.steps_per_epoch).loss.weight)

    return run


def _fit(model: keras.Model, stream: BatchStream, steps: int) -> Callable[[], float]:
    def loss(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        # Keras casts the labels to the type of the logits.
        return class_losses(tf.cast(labels, tf.int32), logits, label_smoothing=0.1)

    model.compile(keras.optimizers.Adam(1e-4), loss, steps_per_execution=steps)
    batches = untuned(stream.dataset())

    def run() -> float:
        model.fit(batches, steps_per_epoch=steps, epochs=1, shuffle=False, verbose=0)
        return steps * EQUAL_ROWS * EQUAL_LENGTH

    return run


def _flops_per_pair(config: BenchConfig) -> float:
    """Returns the multiplications and additions of a forward pass of one pair of equal batches.

    Two for each weight of a matrix and token that it is used at, and for the products of the
    attention; nothing for what goes over single values.
    """
    size = SIZES[config.size]
    width, inner, length = size["width"], size["inner_width"], EQUAL_LENGTH
    attention = 8 * width**2 + 4 * length * width
    feed_forward = 4 * width * inner
    encoder = size["num_encoder_layers"] * (attention + feed_forward)
    decoder = size["num_decoder_layers"] * (2 * attention + feed_forward)
    return length * (encoder + decoder + 2 * width * VOCABULARY)


if __name__ == "__main__":
    run_project(main, BenchConfig)

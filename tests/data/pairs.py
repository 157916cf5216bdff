"""Packs made-up pairs of ids for a test without going through text."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfcamp.data.packed_pairs import PackedPairs
from tfcamp.text.vocabulary import END_ID


def ids_of(row: int, length: int) -> list[int]:
    """The ids of a row, which tell its number and each token's place, with the end."""
    return [1000 * (row + 1) + place for place in range(length - 1)] + [END_ID]


def pack_pairs(folder: Path, lengths: Sequence[tuple[int, int]]) -> PackedPairs:
    """Packs pairs of these lengths, ends included, in two batches; target ids are negative."""
    pairs = [
        (
            ids_of(row, source),
            [-token if token != END_ID else token for token in ids_of(row, target)],
        )
        for row, (source, target) in enumerate(lengths)
    ]
    half = len(pairs) // 2
    batches = [
        tuple(tf.ragged.constant(side, tf.int32, ragged_rank=1) for side in zip(*part, strict=True))
        for part in (pairs[:half], pairs[half:])
        if part
    ]
    return PackedPairs.write(folder, batches)


def random_lengths(num_rows: int, longest: int = 30, seed: int = 0) -> np.ndarray:
    """Lengths int[N, 2] like those of sentences: most are short, and both sides alike."""
    random = np.random.default_rng(seed)
    source = random.geometric(2.5 / longest, num_rows).clip(2, longest)
    target = (source * random.uniform(0.6, 1.6, num_rows)).round()
    return np.stack([source, target.clip(2, longest)], axis=1).astype(np.int32)

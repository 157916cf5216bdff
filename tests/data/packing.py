"""Packs rows of ids for a test without going through text."""

from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from tfcamp.data.packed_text import PackedExamples


def pack(
    folder: Path,
    rows: Sequence[Sequence[int]],
    labels: Sequence[int] | None = None,
    streams: Sequence[str] = ("word",),
) -> PackedExamples:
    """Packs rows; stream number k has the ids plus 1000 k, labels are the rows' numbers."""
    ids = tf.ragged.constant(rows, tf.int32, ragged_rank=1)
    encoded = {name: ids + 1000 * index for index, name in enumerate(streams)}
    return PackedExamples.write(folder, streams, [(encoded, labels or range(len(rows)))])

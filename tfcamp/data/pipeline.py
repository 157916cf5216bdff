"""The plan of each epoch over rows that lie ready, and the batches that a loop reads.

There is one order of stages, for every project: rows are shuffled, then put into length buckets,
then cut into batches, and the batches are shuffled. The plan of an epoch is computed from the
seed and the number of the epoch alone, so the position in the data is nothing but the number of
steps taken: a run that goes on at step 12,345 reads exactly the batches it would have read.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

# All rows on one device.
ONE_PIPELINE = tf.distribute.InputContext()
# Inputs, labels and weights, as Keras has them.
Batch = tuple[Any, Any, Any]
# Inputs, labels, weights and a seed int32[2] to a batch, in TensorFlow's ops.
Transform = Callable[[Any, Any, Any, tf.Tensor], Batch]


class Examples(Protocol):
    """Rows that lie ready to be read by their number.

    Attributes:
      lengths: int[N], tokens of each row; all 1 for rows of one shape, such as images.
    """

    lengths: np.ndarray

    def read(self, rows: np.ndarray, length: int, num_real: int | None = None) -> Batch:
        """Reads rows as one batch; those after the first ``num_real`` have weight 0."""
        ...

    def signature(self, num_rows: int | None, length: int | None) -> tuple:
        """Returns the tf.TensorSpecs of what :meth:`read` returns; None for what may vary."""
        ...


def plan_epoch(
    lengths: np.ndarray,
    batch_size: int,
    *,
    seed: int | None,
    epoch: int = 0,
    bucket_lengths: Sequence[int] = (),
    only_full: bool = False,
) -> list[np.ndarray]:
    """Decides which rows form which batch.

    Args:
      lengths: int[N] tokens of each row.
      batch_size: rows of a batch; the last batch of each bucket may be smaller.
      seed: seed of the shuffling; None keeps the order of the file.
      epoch: the number of the epoch, which changes the order.
      bucket_lengths: ascending upper bounds; rows of the same bucket share batches, so that little
        padding is computed. Empty for no buckets.
      only_full: leave out the batches that would be smaller; other rows in each epoch.

    Returns:
      the row numbers int64[<= batch_size] of each batch; each row once, but for those left out.
      Their count is the same in every epoch.

    >>> [rows.tolist() for rows in plan_epoch(np.array([3, 9, 2, 8, 1]), 2, seed=None,
    ...                                       bucket_lengths=[4])]
    [[0, 2], [4], [1, 3]]
    """
    rows = np.arange(len(lengths))
    random = None if seed is None else np.random.default_rng([seed, epoch])
    if random is not None:
        rows = random.permutation(rows)
    buckets = np.searchsorted(np.asarray(bucket_lengths), lengths[rows])
    batches = []
    for bucket in np.unique(buckets):
        members = rows[buckets == bucket]
        end = len(members) - (len(members) % batch_size if only_full else 0)
        batches += [members[i : i + batch_size] for i in range(0, end, batch_size)]
    if random is not None:
        batches = [batches[index] for index in random.permutation(len(batches))]
    return batches


@dataclass(frozen=True)
class BatchStream:
    """The batches of packed rows, epoch after epoch, from any step on.

    Attributes:
      examples: the rows.
      batch_size: rows of a batch.
      seed: seed of the shuffling; None keeps the order of the file.
      max_length: T of the longest batch.
      bucket_lengths: see :func:`plan_epoch`; each below max_length.
      static_shapes: pad every batch to batch_size rows and to the upper bound of its bucket, so
        that a compiled step sees few shapes (TPU: one for each bucket).
      only_full: see :func:`plan_epoch`. Rows that only fill up a batch weigh nothing in the loss,
        but batch normalisation counts them: a model that has it trains on full batches.
      transform: changes each batch of :meth:`dataset` after it was read, in parallel with other
        batches: augmentation, say. Its seed is a function of ``seed`` and of the position in the
        training alone, another one for each shard of each step.
    """

    examples: Examples
    batch_size: int
    seed: int | None
    max_length: int
    bucket_lengths: tuple[int, ...] = ()
    static_shapes: bool = False
    only_full: bool = False
    transform: Transform | None = None

    @cached_property
    def steps_per_epoch(self) -> int:
        """The number of batches in an epoch, the same in each."""
        return len(self._plan(0))

    @property
    def num_rows(self) -> int:
        """The number of rows that an epoch can read."""
        return len(self.examples.lengths)

    @property
    def has_one_shape(self) -> bool:
        """Whether all batches have the same shape."""
        return self.static_shapes and not self.bucket_lengths

    def rows(self, epoch: int = 0) -> np.ndarray:
        """Returns the row numbers int64[N] in the order in which an epoch reads them."""
        return np.concatenate(self._plan(epoch) or [np.zeros(0, np.int64)])

    def batches(
        self,
        start_step: int = 0,
        num_epochs: int | None = None,
        *,
        shards: Sequence[int] = (0,),
        num_shards: int = 1,
        row_multiple: int = 1,
    ) -> Iterator[Batch]:
        """Yields batches as NumPy arrays, beginning with that of step ``start_step``.

        Several devices share the rows of a batch, in order. All shards of a batch have the same
        shape: where rows are missing, copies of weight 0 stand in.

        Args:
          start_step: steps already taken, over all epochs.
          num_epochs: the stream ends after so many epochs, counted from the first; None for never.
          shards: the shards to yield of each batch, one after another.
          num_shards: into how many a batch is cut.
          row_multiple: the rows of a shard are filled up to a multiple of this.
        """
        epoch, start = divmod(start_step, max(1, self.steps_per_epoch))
        while num_epochs is None or epoch < num_epochs:
            for rows in self._plan(epoch)[start:]:
                length = self._length(rows)
                size = self._shard_size(len(rows), num_shards, row_multiple)
                for shard in shards:
                    own = rows[shard * size : (shard + 1) * size]
                    # A row of nothing but padding would be a special case for many a layer.
                    copies = np.repeat(rows[:1], size - len(own))
                    yield self.examples.read(np.concatenate([own, copies]), length, len(own))
            epoch, start = epoch + 1, 0

    def dataset(
        self,
        start_step: int = 0,
        num_epochs: int | None = None,
        *,
        context: tf.distribute.InputContext = ONE_PIPELINE,
        row_multiple: int = 1,
    ) -> tf.data.Dataset:
        """Returns :meth:`batches` as a tf.data.Dataset that reads ahead of the loop.

        Args:
          start_step: steps already taken, over all epochs.
          num_epochs: the data set ends after so many epochs; None for never.
          context: which of several input pipelines this is: each yields the shards of its own
            replicas in turn, as ``distribute_datasets_from_function`` expects.
          row_multiple: the rows of a shard are filled up to a multiple of this.

        Returns:
          elements are the Keras triple (inputs, labels, weights): for text int32[B, T] for each
          stream, int32[B] and float32[B].
        """
        num_shards = context.num_replicas_in_sync
        per_pipeline = num_shards // context.num_input_pipelines
        first = context.input_pipeline_id * per_pipeline
        size = self._shard_size(self.batch_size, num_shards, row_multiple)
        rows = size if self.static_shapes else None
        length = self.max_length if self.static_shapes and not self.bucket_lengths else None
        stream = tf.data.Dataset.from_generator(
            lambda: self.batches(
                start_step,
                num_epochs,
                shards=range(first, first + per_pipeline),
                num_shards=num_shards,
                row_multiple=row_multiple,
            ),
            output_signature=self.examples.signature(rows, length),
        )
        if num_epochs is None:
            # Otherwise several replicas ask each other before each step whether data is left.
            stream = stream.apply(
                tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
            )
        if self.transform is not None:
            transform, stream_seed = self.transform, np.uint32(self.seed or 0).astype(np.int32)

            def transform_element(index: tf.Tensor, batch: Batch) -> Batch:
                step, shard = start_step + index // per_pipeline, first + index % per_pipeline
                position = tf.cast(step * num_shards + shard, tf.int32)
                return transform(*batch, tf.stack([stream_seed, position]))

            stream = stream.enumerate().map(
                transform_element, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
            )
        return stream.prefetch(tf.data.AUTOTUNE)

    def _plan(self, epoch: int) -> list[np.ndarray]:
        return plan_epoch(
            self.examples.lengths,
            self.batch_size,
            seed=self.seed,
            epoch=epoch,
            bucket_lengths=self.bucket_lengths,
            only_full=self.only_full,
        )

    def _length(self, rows: np.ndarray) -> int:
        """Returns T of a batch: of all its shards, whose rows one device would pad alike."""
        longest = min(self.max_length, max(1, int(self.examples.lengths[rows].max())))
        if not self.static_shapes:
            return longest
        fitting = [bound for bound in self.bucket_lengths if longest <= bound]
        return min([*fitting, self.max_length])

    def _shard_size(self, num_rows: int, num_shards: int, row_multiple: int) -> int:
        if self.static_shapes:
            num_rows = self.batch_size
        parts = math.ceil(num_rows / (num_shards * row_multiple))
        return parts * row_multiple

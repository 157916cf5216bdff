"""The plan of each epoch over rows that lie ready, and the batches that a loop reads.

There is one order of stages, for every project: rows are shuffled, then put into length buckets,
then cut into batches, and the batches are shuffled (`tfcamp.data.plans`). The plan of an epoch is
computed from the seed and the number of the epoch alone, so the position in the data is nothing but
the number of steps taken: a run that goes on at step 12,345 reads exactly the batches it would have
read.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from tfcamp.data.plans import Bound, TokenBudget, assign_buckets, full_batch_sizes, plan_epoch

# All rows on one device.
ONE_PIPELINE = tf.distribute.InputContext()
# Inputs, labels and weights, as Keras has them.
Batch = tuple[Any, Any, Any]
# Inputs, labels, weights and a seed int32[2] to a batch, in TensorFlow's ops.
Transform = Callable[[Any, Any, Any, tf.Tensor], Batch]


class Examples(Protocol):
    """Rows that lie ready to be read by their number.

    Attributes:
      lengths: int[N], tokens of each row; all 1 for rows of one shape, such as images. int[N, 2]
        for pairs, whose ``length`` is then a pair as well.
    """

    lengths: np.ndarray

    def read(self, rows: np.ndarray, length: Any, num_real: int | None = None) -> Batch:
        """Reads rows as one batch; those after the first ``num_real`` have weight 0."""
        ...

    def signature(self, num_rows: int | None, length: Any) -> tuple:
        """Returns the tf.TensorSpecs of what :meth:`read` returns; None for what may vary."""
        ...


class Padding(NamedTuple):
    """How much of an epoch's batches is padding.

    Attributes:
      num_tokens: tokens that are read.
      num_positions: rows of each batch, those that only fill it up too, times its length or times
        the sum of both lengths of pairs, added up.
      num_shapes: how many different shapes the batches have.
    """

    num_tokens: int
    num_positions: int
    num_shapes: int

    @property
    def token_share(self) -> float:
        """The share of the positions that are tokens."""
        return self.num_tokens / max(1, self.num_positions)


@dataclass(frozen=True)
class BatchStream:
    """The batches of packed rows, epoch after epoch, from any step on.

    Attributes:
      examples: the rows.
      batch_size: rows of a batch, or a token budget.
      seed: seed of the shuffling; None keeps the order of the file.
      max_length: T of the longest batch; of pairs S and T.
      bucket_lengths: see :func:`plan_epoch`; each below max_length, the bound of a last bucket.
        For a token budget :func:`tfcamp.data.plans.choose_buckets` finds good ones.
      static_shapes: pad every batch to the rows of a full one and to the upper bound of its bucket,
        so that a compiled step sees few shapes (TPU: one for each bucket).
      only_full: see :func:`plan_epoch`. Rows that only fill up a batch weigh nothing in the loss,
        but batch normalisation counts them: a model that has it trains on full batches.
      transform: changes each batch of :meth:`dataset` after it was read, in parallel with other
        batches: augmentation, say. Its seed is a function of ``seed`` and of the position in the
        training alone, another one for each shard of each step.
    """

    examples: Examples
    batch_size: int | TokenBudget
    seed: int | None
    max_length: Bound
    bucket_lengths: tuple[Bound, ...] = ()
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

    def padding(self, epoch: int = 0) -> Padding:
        """Counts the tokens and the padding in an epoch's batches, on one device."""
        num_tokens = num_positions = 0
        shapes = set()
        for rows in self._plan(epoch):
            shape = self._shape(rows)
            shapes.add(shape)
            num_tokens += int(np.minimum(self.examples.lengths[rows], self.max_length).sum())
            num_positions += shape.num_rows * int(np.sum(shape.length))
        return Padding(num_tokens, num_positions, len(shapes))

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
                shape = self._shape(rows)
                size = _shard_size(shape.num_rows, num_shards, row_multiple)
                for shard in shards:
                    own = rows[shard * size : (shard + 1) * size]
                    # A row of nothing but padding would be a special case for many a layer.
                    copies = np.repeat(rows[:1], size - len(own))
                    yield self.examples.read(np.concatenate([own, copies]), shape.length, len(own))
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
          elements are the Keras triple (inputs, labels, weights), as the examples' ``read`` returns
          it.
        """
        num_shards = context.num_replicas_in_sync
        per_pipeline = num_shards // context.num_input_pipelines
        first = context.input_pipeline_id * per_pipeline
        length = self.max_length if self.has_one_shape else None
        rows = None
        if self.static_shapes and len(set(self._full_sizes)) == 1:
            rows = _shard_size(self._full_sizes[0], num_shards, row_multiple)
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
            # Longer rows are cut, so the last bucket holds them all.
            np.minimum(self.examples.lengths, self.max_length),
            self.batch_size,
            seed=self.seed,
            epoch=epoch,
            bucket_lengths=self._bounds,
            only_full=self.only_full,
        )

    @property
    def _bounds(self) -> tuple[Bound, ...]:
        """The upper bound of each bucket."""
        return (*self.bucket_lengths, self.max_length)

    @property
    def _full_sizes(self) -> list[int]:
        """The rows of a full batch of each bucket."""
        return full_batch_sizes(self.batch_size, self._bounds)

    def _shape(self, rows: np.ndarray) -> "_Shape":
        """Returns the shape of a batch: of all its shards, whose rows one device pads alike."""
        longest = np.maximum(1, self.examples.lengths[rows].max(axis=0))
        longest = np.minimum(self.max_length, longest)
        if self.static_shapes:
            (bucket,) = assign_buckets(longest[np.newaxis], self._bounds)
            return _Shape(self._full_sizes[bucket], self._bounds[bucket])
        length = longest.tolist()
        return _Shape(len(rows), tuple(length) if isinstance(length, list) else length)


class _Shape(NamedTuple):
    """The rows and the length, or lengths, of a batch."""

    num_rows: int
    length: Bound


def _shard_size(num_rows: int, num_shards: int, row_multiple: int) -> int:
    return math.ceil(num_rows / (num_shards * row_multiple)) * row_multiple

"""Hashed n-grams of ids, in the graph: fastText's features without a table of n-grams."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

# A polynomial in a good multiplier (Fishman and Moore, 1986) modulo the Mersenne prime 2^31 - 1:
# every product fits into int64, so nothing relies on overflow, and Python, TensorFlow and XLA
# agree on every device and in every version.
MODULUS = 2**31 - 1
MULTIPLIER = 742_938_285


@keras.saving.register_keras_serializable(package="tfcamp")
class NGramBuckets(keras.layers.Layer):
    """Turns ids into the buckets of their n-grams (Joulin et al., 2016, sec. 2.2).

    For an n-gram (i_1, ..., i_n), with h_0 = n so that each size has its own buckets:

        h_k = (MULTIPLIER h_(k-1) + i_k) mod MODULUS        bucket = 1 + h_n mod num_buckets

    Bucket 0 stands where the n-gram would reach into the padding.
    """

    def __init__(self, sizes: Sequence[int], num_buckets: int, **kwargs: Any):
        """Takes the sizes n, each at least 1, and the number of buckets without bucket 0.

        Raises:
          ValueError: there is no size, or a size or num_buckets is not positive.
        """
        super().__init__(**kwargs)
        if not sizes or min(sizes) < 1 or num_buckets < 1:
            raise ValueError(f"sizes and num_buckets must be positive, got {sizes}, {num_buckets}")
        self.sizes, self.num_buckets = tuple(sizes), num_buckets

    def call(self, ids: Any) -> Any:
        """Returns int32[B, T * len(sizes)], one size after another, of right-padded int32[B, T]."""
        ids = ops.cast(ids, "int64")
        return ops.concatenate([self._buckets(ids, size) for size in self.sizes], axis=1)

    def _buckets(self, ids: Any, size: int) -> Any:
        reach = size - 1
        padded = ops.pad(ids, ((0, 0), (0, reach)))
        hashes = ops.full_like(ids, size)
        for k in range(size):
            token = padded[:, k : k - reach if k < reach else None]
            hashes = (hashes * MULTIPLIER + token) % MODULUS
        complete = padded[:, reach:] != 0
        return ops.cast(ops.where(complete, 1 + hashes % self.num_buckets, 0), "int32")

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "sizes": self.sizes, "num_buckets": self.num_buckets}

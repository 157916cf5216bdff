"""Hashed n-grams of ids, in the graph: fastText's features without a table of n-grams."""

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
    """Gives each n-gram of ids a bucket (Joulin et al., 2016, sec. 2.2).

    For the n-gram (i_1, ..., i_n), with h_0 = 256 seed + n:

        h_k = (MULTIPLIER h_(k-1) + i_k) mod MODULUS        bucket = 1 + h_n mod num_buckets

    Bucket 0 stands where the n-gram would reach into the padding.
    """

    def __init__(self, size: int, num_buckets: int, seed: int = 0, **kwargs: Any):
        """Takes n, the number of buckets without bucket 0, and what tells streams apart.

        The same ids mean different tokens in different streams: with one seed for all, an n-gram
        of words would always share the bucket of a certain n-gram of characters.

        Raises:
          ValueError: size or num_buckets is not positive, or seed is negative.
        """
        super().__init__(**kwargs)
        if size < 1 or num_buckets < 1 or seed < 0:
            raise ValueError(
                f"size and num_buckets must be at least 1 and seed at least 0, "
                f"got {size}, {num_buckets} and {seed}"
            )
        self.size, self.num_buckets, self.seed = size, num_buckets, seed

    def call(self, ids: Any) -> Any:
        """Returns int32[B, T], the bucket of the n-gram that starts at each of int32[B, T]."""
        reach = self.size - 1
        padded = ops.pad(ops.cast(ids, "int64"), ((0, 0), (0, reach)))
        hashes = ops.full_like(padded[:, reach:], 256 * self.seed + self.size)
        for k in range(self.size):
            token = padded[:, k : k - reach if k < reach else None]
            hashes = (hashes * MULTIPLIER + token) % MODULUS
        complete = padded[:, reach:] != 0
        return ops.cast(ops.where(complete, 1 + hashes % self.num_buckets, 0), "int32")

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        config = {"size": self.size, "num_buckets": self.num_buckets, "seed": self.seed}
        return {**super().get_config(), **config}

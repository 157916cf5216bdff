"""Leaves sentence pairs out of training that are too long, or too unequal to be translations."""

from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf


class PairFilter:
    """Passes pairs on unless they are too long or too unequal, and counts what it leaves out.

    For training only: what is left out of an evaluation split flatters the score.

    Lengths are those of the encoded rows, the end token included, which softens the ratio of short
    pairs: 1 token to 3 counts as 2 to 4.

    Attributes:
      num_pairs: pairs seen so far.
      num_long: those left out because one side has more than ``max_tokens`` tokens.
      num_unequal: those left out because one side is more than ``max_ratio`` times as long as the
        other; too long ones are not counted again.
    """

    def __init__(self, *, max_tokens: int, max_ratio: float) -> None:
        """Sets the limits.

        Args:
          max_tokens: the longest row that is kept.
          max_ratio: the largest ratio of lengths, longer to shorter, that is kept; at least 1.

        Raises:
          ValueError: with these limits nothing would be kept.
        """
        if max_tokens < 1 or max_ratio < 1:
            raise ValueError(f"nothing has at most {max_tokens} tokens and a ratio of {max_ratio}")
        self.max_tokens = max_tokens
        self.max_ratio = max_ratio
        self.num_pairs = self.num_long = self.num_unequal = 0

    def __call__(
        self, batches: Iterable[tuple[tf.RaggedTensor, tf.RaggedTensor]]
    ) -> Iterator[tuple[tf.RaggedTensor, tf.RaggedTensor]]:
        """Yields batches of encoded pairs, RaggedTensors int32[B, None], without some of them.

        >>> short, long = tf.ragged.constant([[5, 3]]), tf.ragged.constant([[5, 6, 7, 8, 3]])
        >>> pair_filter = PairFilter(max_tokens=9, max_ratio=2)
        >>> [source.to_list() for source, _ in pair_filter([(short, short), (short, long)])]
        [[[5, 3]], []]
        >>> print(pair_filter)
        1 of 2 pairs left out: 1 more than 2 times as long as the other side
        """
        for source, target in batches:
            lengths = np.stack([source.row_lengths(), target.row_lengths()], axis=1)
            shorter, longer = lengths.min(axis=1), lengths.max(axis=1)
            is_long = longer > self.max_tokens
            is_unequal = ~is_long & (longer > self.max_ratio * shorter)
            self.num_pairs += len(lengths)
            self.num_long += int(is_long.sum())
            self.num_unequal += int(is_unequal.sum())
            is_kept = ~is_long & ~is_unequal
            yield tf.ragged.boolean_mask(source, is_kept), tf.ragged.boolean_mask(target, is_kept)

    def __str__(self) -> str:
        """Says what was left out, on one line."""
        reasons = [
            f"{count:,} {reason}"
            for count, reason in (
                (self.num_long, f"longer than {self.max_tokens:,} tokens"),
                (self.num_unequal, f"more than {self.max_ratio:g} times as long as the other side"),
            )
            if count
        ]
        num_left_out = self.num_long + self.num_unequal
        told = f"{num_left_out:,} of {self.num_pairs:,} pairs left out"
        return f"{told}: {', '.join(reasons)}" if reasons else told

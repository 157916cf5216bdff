"""Tokens and their ids, looked up inside the graph."""

from collections import Counter
from collections.abc import Mapping, Sequence

import tensorflow as tf

PADDING = "<pad>"
UNKNOWN = "<unk>"
PADDING_ID = 0
UNKNOWN_ID = 1
# Only texts that are written token by token have these: what their writing begins and ends with.
BEGIN_ID = 2
END_ID = 3


class Vocabulary(tf.Module):
    """Maps tokens to ids: 0 is padding, 1 every token that is not in the vocabulary.

    The table is a tracked resource, so a SavedModel that uses the vocabulary carries it.

    >>> vocabulary = Vocabulary(["新闻", "标题"])
    >>> vocabulary(["标题", "天气"]).numpy().tolist()
    [3, 1]
    >>> vocabulary.tokens
    ('<pad>', '<unk>', '新闻', '标题')
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        """Builds the table.

        Args:
          tokens: distinct tokens in the order of their ids, which start at 2.

        Raises:
          ValueError: a token stands twice.
        """
        super().__init__(name="vocabulary")
        self.tokens = (PADDING, UNKNOWN, *tokens)
        repeated = [token for token, count in Counter(self.tokens).items() if count > 1]
        if repeated:
            raise ValueError(f"tokens must be distinct, but {repeated[:3]} stand more than once")
        self._table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                # A text that spells "<pad>" is no padding, so both reserved tokens are unknown.
                tf.constant(self.tokens),
                tf.constant([UNKNOWN_ID, UNKNOWN_ID, *range(2, len(self.tokens))], tf.int32),
            ),
            default_value=UNKNOWN_ID,
        )

    @classmethod
    def fit(
        cls, counts: Mapping[str, int], *, max_size: int | None = None, min_count: int = 1
    ) -> "Vocabulary":
        """Builds the vocabulary of a corpus, the most frequent token first.

        Args:
          counts: how often each token occurs; in the training split only, or scores are flattered.
          max_size: the largest number of ids, padding and unknown included; None for no limit.
          min_count: rarer tokens are left out.

        >>> Vocabulary.fit({"a": 1, "b": 2, "c": 3}, min_count=2).tokens[2:]
        ('c', 'b')
        """
        # Ties are broken by the token itself, so that the ids do not depend on the rows' order.
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        frequent = [
            token
            for token, count in ranked
            if count >= min_count and token not in (PADDING, UNKNOWN)
        ]
        return cls(frequent if max_size is None else frequent[: max(0, max_size - 2)])

    def __len__(self) -> int:
        """Returns the number of ids, padding and unknown included."""
        return len(self.tokens)

    def __call__(self, tokens):
        """Looks tokens up.

        Args:
          tokens: string tensor or RaggedTensor of any shape.

        Returns:
          int32 ids of the same shape, in [1, V).
        """
        return self._table.lookup(
            tokens
            if isinstance(tokens, tf.RaggedTensor)
            else tf.convert_to_tensor(tokens, tf.string)
        )

"""A tokenised corpus on disk: split once, read as often as vocabulary and vectors need."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import tensorflow as tf

from tfcamp.data.storage import whole_file

_BATCH = 1024


class TokenCorpus:
    """A file with one text a line, its tokens separated by a space; read as lists of tokens.

    Nothing is kept in memory: each iteration reads the file again.
    """

    def __init__(self, path: Path, *, ngram: int | None = None) -> None:
        """Opens a corpus.

        Args:
          path: the file.
          ngram: yield every run of so many characters of each text instead of its tokens.
        """
        self._path = path
        self._ngram = ngram

    @classmethod
    def write(
        cls,
        path: Path,
        texts: Iterable[str],
        split: Callable[[tf.Tensor], tf.RaggedTensor],
    ) -> "TokenCorpus":
        """Splits texts and writes them.

        Args:
          path: the file.
          texts: raw texts.
          split: string[B] to RaggedTensor string[B, None] of tokens without white space.
        """
        with whole_file(path) as file:
            for batch in batched(texts, _BATCH):
                lines = tf.strings.reduce_join(split(tf.constant(batch)), axis=1, separator=" ")
                file.writelines(line + b"\n" for line in lines.numpy())
        return cls(path)

    def characters(self, ngram: int = 1) -> "TokenCorpus":
        """Returns the same corpus as lists of characters, or of all runs of ``ngram`` of them."""
        return TokenCorpus(self._path, ngram=ngram)

    def __iter__(self) -> Iterator[list[str]]:
        """Yields the tokens of each text."""
        # A bare carriage return or a line separator may stand inside a token.
        with open(self._path, encoding="utf-8", newline="\n") as file:
            for line in file:
                line = line.rstrip("\n")
                if self._ngram is None:
                    yield line.split(" ") if line else []
                else:
                    text = line.replace(" ", "")
                    starts = range(len(text) - self._ngram + 1)
                    yield [text[i : i + self._ngram] for i in starts]


def batched(items: Iterable, size: int) -> Iterator[list]:
    """Cuts any iterable into lists of ``size`` items; the last may be shorter.

    >>> list(batched("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch

"""Words with their vectors: neighbours, the embedding matrix of a vocabulary, coverage."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from tfcamp.data.storage import whole_file
from tfcamp.errors import UserError

NUM_MISSING_SHOWN = 10


@dataclass(frozen=True)
class Coverage:
    """How much of a vocabulary has a word vector of its own.

    Attributes:
      num_types: words of the vocabulary, padding and unknown left out.
      num_types_found: those of them that have a vector.
      num_tokens: how often these words stand in the training text; None when counts were not given.
      num_tokens_found: how often those with a vector do.
      missing: the most frequent words without a vector (without counts: the first ones).

    >>> print(Coverage(4, 3, 100, 98, ("碳达峰",)))
    vectors for 3 of 4 words (75.0 %), 98.0 % of the running text; most frequent without: 碳达峰
    """

    num_types: int
    num_types_found: int
    num_tokens: int | None
    num_tokens_found: int | None
    missing: tuple[str, ...]

    @property
    def types_share(self) -> float:
        """The share of the vocabulary's words that have a vector, in [0, 1]."""
        return self.num_types_found / max(self.num_types, 1)

    @property
    def tokens_share(self) -> float | None:
        """The share of the running text that has a vector, in [0, 1]; None without counts."""
        if self.num_tokens is None or self.num_tokens_found is None:
            return None
        return self.num_tokens_found / max(self.num_tokens, 1)

    def __str__(self) -> str:
        line = (
            f"vectors for {self.num_types_found:,} of {self.num_types:,} words "
            f"({100 * self.types_share:.1f} %)"
        )
        if self.tokens_share is not None:
            line += f", {100 * self.tokens_share:.1f} % of the running text"
        if self.missing:
            line += "; most frequent without: " + " ".join(self.missing)
        return line


@dataclass(frozen=True, eq=False)
class WordVectors:
    """Words and their vectors.

    Attributes:
      tokens: N different words; where they were counted, the most frequent first.
      vectors: float32[N, D].

    Raises:
      ValueError: the number of tokens and of rows differ, or a token stands twice.

    >>> numbers = np.array([[3, 1], [2, 1], [-1, 2]], np.float32)
    >>> vectors = WordVectors(("股市", "大盘", "足球"), numbers)
    >>> [(word, round(cosine, 2)) for word, cosine in vectors.nearest("股市", k=1)]
    [('大盘', 0.99)]
    """

    tokens: tuple[str, ...]
    vectors: np.ndarray

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.tokens) != len(self.vectors):
            raise ValueError(
                f"{len(self.tokens)} tokens do not fit vectors of shape {self.vectors.shape}"
            )
        if len(self._row_of) != len(self.tokens):
            raise ValueError("a token stands twice")

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: str) -> bool:
        return token in self._row_of

    @property
    def size(self) -> int:
        """The width D of a vector."""
        return self.vectors.shape[1]

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {token: row for row, token in enumerate(self.tokens)}

    @cached_property
    def _directions(self) -> np.ndarray:
        """float32[N, D]: the vectors at length 1; a vector of zeros stays zero."""
        norms = np.linalg.norm(self.vectors, axis=1, keepdims=True)
        return self.vectors / np.maximum(norms, np.finfo(np.float32).tiny)

    def nearest(self, token: str, k: int = 10) -> list[tuple[str, float]]:
        """Returns the k words whose vectors point most nearly the same way.

        Args:
          token: a word that has a vector.
          k: how many; fewer come back when there are fewer other words.

        Returns:
          (word, cosine in [-1, 1]) pairs, nearest first, without `token` itself; equal cosines in
          the order of `tokens`.

        Raises:
          UserError: `token` has no vector.
          ValueError: k < 1.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        if token not in self:
            raise UserError(
                f'no vector for "{token}": expected one of the {len(self):,} known words'
            )
        row = self._row_of[token]
        cosines = self._directions @ self._directions[row]
        order = np.argsort(-cosines, kind="stable")
        return [(self.tokens[i], float(cosines[i])) for i in order if i != row][:k]

    def matrix(
        self,
        vocabulary_tokens: Sequence[str],
        seed: int,
        *,
        counts: Mapping[str, int] | None = None,
    ) -> tuple[np.ndarray, Coverage]:
        """Returns the start value of an embedding layer for a vocabulary.

        Row 0 (padding) is zeros. A word without a vector, the unknown word of row 1 among them,
        gets random numbers that spread like those of the words found (Kim, 2014, section 4.3), or
        up to 0.1 when none was found. Which ones, depends on the seed and the row alone.

        Args:
          vocabulary_tokens: V tokens in the order of their ids: padding, unknown, then the words.
          seed: of the random rows.
          counts: how often each word stands in the training text, for `Coverage`.

        Returns:
          float32[V, D] and the Coverage of the words from row 2 on.
        """
        rows = np.array([self._row_of.get(token, -1) for token in vocabulary_tokens], np.int64)
        rows[:2] = -1
        found = rows >= 0
        # A uniform number in [-a, a] has the standard deviation a / sqrt(3).
        bound = np.sqrt(3) * self.vectors[rows[found]].std() if found.any() else 0.1
        random = np.random.default_rng(seed).uniform(-1, 1, (len(rows), self.size))
        matrix = (bound * random).astype(np.float32)
        matrix[found] = self.vectors[rows[found]]
        matrix[:1] = 0
        return matrix, _coverage(vocabulary_tokens[2:], found[2:], counts)

    def save(self, path: Path | str) -> None:
        """Writes the vectors as a NumPy ``.npz``; equal vectors make equal bytes.

        The file is complete or absent: it is written beside its place and then moved there.

        Raises:
          UserError: the file cannot be written.
        """
        path = Path(path)
        # JSON, because a NumPy string array would give every word the room of the longest one.
        tokens = np.frombuffer(json.dumps(self.tokens).encode(), np.uint8)
        try:
            with whole_file(path) as file:
                np.savez(file, tokens=tokens, vectors=self.vectors)
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: Path | str) -> "WordVectors":
        """Reads what `save` wrote.

        Raises:
          UserError: the file is missing, cut short or not of this kind.
        """
        try:
            # Opened here, because np.load leaves a file open that it cannot read.
            with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                tokens = tuple(json.loads(file["tokens"].tobytes()))
                return cls(tokens, file["vectors"])
        except FileNotFoundError as error:
            raise UserError(f"{path}: no such file; expected saved word vectors (.npz)") from error
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(
                f"{path}: not readable as saved word vectors (.npz); "
                "delete it and train the vectors again"
            ) from error


def _coverage(
    words: Sequence[str], found: np.ndarray, counts: Mapping[str, int] | None
) -> Coverage:
    missing = [word for word, known in zip(words, found, strict=True) if not known]
    num_tokens = num_tokens_found = None
    if counts is not None:
        missing.sort(key=lambda word: -counts.get(word, 0))
        num_tokens = sum(counts.get(word, 0) for word in words)
        num_tokens_found = num_tokens - sum(counts.get(word, 0) for word in missing)
    return Coverage(
        num_types=len(words),
        num_types_found=int(found.sum()),
        num_tokens=num_tokens,
        num_tokens_found=num_tokens_found,
        missing=tuple(missing[:NUM_MISSING_SHOWN]),
    )

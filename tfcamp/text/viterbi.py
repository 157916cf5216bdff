"""The most probable way to cut a string into the pieces of a dictionary, in core TensorFlow ops.

A dictionary of pieces with log-probabilities gives every way of cutting a string a score, the sum
over its pieces; dynamic programming finds the best one (Viterbi, 1967). jieba and SentencePiece's
unigram model are this computation with rules of their own around it.

Texts are laid end to end instead of padded, so that memory and work are in proportion to the
number of characters, however unequal the texts are:

1. From every character at once, walk the trie of the pieces. One hash table holds its edges; most
   walks end after two or three steps, and those that ended are dropped at each step.
2. From the right ends of all blocks at once, add up the best scores. Blocks are sorted by length,
   so that the blocks that still have characters left are always the first ones.
3. From the left ends, follow the best pieces, in jumps that double.

SentencePiece goes from left to right, which is the same in a mirror.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfcamp.text.trie import TrieInitializer, build_trie, edge_of, narrow

# Integer look-ups gain nothing from a GPU, and tf.data runs on the CPU anyway.
CPU = "/device:CPU:0"

# Where a walk must end: no edge of a trie has this character.
_NO_CHARACTER = -1


class ViterbiSegmenter(tf.Module):
    """Cuts strings into the pieces of a dictionary so that the sum of their scores is greatest.

    Scores are added in float64 from right to left, ``score of a piece + score of the rest``. Of
    equal sums the one that begins with the longest piece wins. SentencePiece's order is the other
    one: in float32 from left to right, and the longest last piece wins.

    >>> segmenter = ViterbiSegmenter(["a", "b", "ab", "ba"], [-2, -2, -3, -1], unknown_score=-9)
    >>> cut = segmenter(tf.constant(["aba", "abx", ""]))
    >>> [[piece.decode() for piece in row] for row in cut.to_list()]
    [['a', 'ba'], ['ab', 'x'], []]
    """

    def __init__(
        self,
        pieces: Sequence[str],
        scores: npt.ArrayLike,
        *,
        unknown_score: float,
        unknown_beside_longer: bool = False,
        left_to_right: bool = False,
    ) -> None:
        """Builds the tables.

        Args:
          pieces: distinct, none empty.
          scores: float[len(pieces)], natural logarithms of the pieces' probabilities.
          unknown_score: the score of a character that stands in for a missing piece.
          unknown_beside_longer: whether a character that is no piece by itself stands in wherever
            it occurs (SentencePiece's rule), or only where no piece at all begins (jieba's).
          left_to_right: whether scores are added in SentencePiece's order or in jieba's.

        Raises:
          ValueError: an empty or repeated piece, no pieces, or scores that are not one finite
            number for each piece.
        """
        super().__init__(name="viterbi_segmenter")
        values = np.asarray(scores, np.float64)
        if values.shape != (len(pieces),):
            raise ValueError(f"{len(pieces)} pieces need one score each, got shape {values.shape}")
        if not np.isfinite([*values, unknown_score]).all():
            raise ValueError("scores must be finite")
        # Few scores are distinct (word counts repeat), so a node stores the number of its score;
        # 0 is a node that is only the beginning of a piece.
        distinct, score_ids = np.unique(values, return_inverse=True)
        trie = build_trie(pieces, score_ids + 1)
        self._unknown_beside_longer = unknown_beside_longer
        self._left_to_right = left_to_right
        with tf.device(CPU):
            self._child = tf.lookup.StaticHashTable(TrieInitializer(trie), default_value=0)
            self._score_id = tf.constant(narrow(trie.value))
            self._scores = tf.constant(
                np.concatenate([[unknown_score], distinct]),
                tf.float32 if left_to_right else tf.float64,
            )
            self._level_ends = tf.constant(trie.level_ends, tf.int32)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Cuts each text.

        Args:
          texts: string[B], UTF-8; invalid bytes are read as U+FFFD.

        Returns:
          RaggedTensor string[B, None], the pieces of each text; joined they are the text.
        """
        with tf.device(CPU):
            characters, row_splits = decode(texts)
            starts = self.piece_starts(characters, mark_rows(characters, row_splits))
            return encode(characters, row_splits, starts)

    def piece_starts(self, characters: tf.Tensor, block_starts: tf.Tensor) -> tf.Tensor:
        """Finds the best pieces of blocks of characters that are laid end to end.

        Args:
          characters: int32[N], code points.
          block_starts: bool[N], true at the first character of each block, so at the first of all.
            No piece reaches from one block into the next, and scores start again at each.

        Returns:
          bool[N], true at the first character of each piece.
        """
        found = self._find_pieces(characters, block_starts)
        if not self._left_to_right:
            return _follow(_best_lengths(found, block_starts), block_starts)
        # In a mirror, blocks and pieces begin where they end here. Not every position need be the
        # end of a piece; then no way goes through it, and any length will do.
        found = found._replace(start=tf.size(characters) - found.start - found.length)
        block_starts = tf.reverse(tf.concat([block_starts, [True]], 0)[1:], [0])
        lengths = tf.maximum(_best_lengths(found, block_starts), 1)
        ends = tf.reverse(_follow(lengths, block_starts), [0])
        return tf.concat([[True], ends], 0)[:-1]

    def _find_pieces(self, characters: tf.Tensor, block_starts: tf.Tensor) -> "_Pieces":
        """Finds every piece at every position by walking the trie from all of them at once."""
        # A walk goes on from start + length: never into another block, nor over the end.
        following = tf.concat(
            [tf.where(block_starts, _NO_CHARACTER, characters), [_NO_CHARACTER]], 0
        )

        def step(length, node, start, character, nodes, starts):
            edge = edge_of(tf.cast(node, tf.int64), tf.cast(character, tf.int64))
            child = self._child.lookup(edge)
            alive = tf.where(child > 0)[:, 0]
            node, start = tf.gather(child, alive), tf.gather(start, alive)
            nodes, starts = nodes.write(length, node), starts.write(length, start)
            length += 1
            return length, node, start, tf.gather(following, start + length), nodes, starts

        everywhere = tf.range(tf.size(characters))
        nodes, starts = _array_of_vectors(tf.int32), _array_of_vectors(tf.int32)
        *_, nodes, starts = tf.while_loop(
            lambda length, node, *_: (length == 0) | (tf.size(node) > 0),
            step,
            (0, tf.zeros_like(everywhere), everywhere, characters, nodes, starts),
            shape_invariants=(
                tf.TensorShape([]),
                *[tf.TensorShape([None])] * 3,
                *[tf.TensorShape([])] * 2,
            ),
        )
        nodes, starts = nodes.concat(), starts.concat()
        score_ids = tf.cast(tf.gather(self._score_id, nodes), tf.int32)
        whole = tf.where(score_ids > 0)[:, 0]
        start, score_id = tf.gather(starts, whole), tf.gather(score_ids, whole)
        # Nodes are numbered level by level, so a node's number tells how long its piece is.
        length = tf.searchsorted(self._level_ends, tf.gather(nodes, whole))

        known = tf.boolean_mask(start, length == 1) if self._unknown_beside_longer else start
        known = _mark(known, tf.size(characters))
        alone = tf.cast(tf.where(tf.logical_not(known))[:, 0], tf.int32)
        return _Pieces(
            tf.concat([start, alone], 0),
            tf.concat([length, tf.ones_like(alone)], 0),
            tf.gather(self._scores, tf.concat([score_id, tf.zeros_like(alone)], 0)),
        )


class _Pieces(NamedTuple):
    """Pieces that occur: int32[P] start, int32[P] length in characters, float[P] score."""

    start: tf.Tensor
    length: tf.Tensor
    score: tf.Tensor


def _best_lengths(pieces: _Pieces, block_starts: tf.Tensor) -> tf.Tensor:
    """Returns int32[N], the length of the piece with which the best way from a position begins."""
    size = tf.size(block_starts)
    block = tf.cumsum(tf.cast(block_starts, tf.int32)) - 1
    first = tf.cast(tf.where(block_starts)[:, 0], tf.int32)
    num_blocks = tf.size(first)
    end = tf.concat([first, [size]], 0)[1:]

    # A place is a position in another order: by the number of characters from there to the end of
    # the block, `rest` (0 is the end itself), then by the blocks' rank, the longest first. The
    # blocks of at least `rest` characters are then the first width[rest] ones.
    lengths, ranked = tf.math.top_k(end - first, num_blocks)
    rank = tf.gather(tf.math.invert_permutation(ranked), block)
    rest = tf.gather(end, block) - tf.range(size)
    longest = tf.reduce_max(tf.concat([lengths, [0]], 0))
    width = tf.cumsum(tf.math.bincount(lengths, minlength=longest + 1), reverse=True)
    offset = tf.cumsum(width, exclusive=True)
    place = tf.gather(tf.gather(offset, rest) + rank, pieces.start)
    next_place = tf.gather(offset, tf.gather(rest, pieces.start) - pieces.length) + tf.gather(
        rank, pieces.start
    )

    # float[longest piece, places]: the score of the piece of each length at each place, and the
    # lowest number where there is none. (A scatter would do the same, ten times slower.)
    longest_piece, num_places = tf.reduce_max(tf.concat([pieces.length, [1]], 0)), size + num_blocks
    cell = (pieces.length - 1) * num_places + place
    table = tf.math.unsorted_segment_max(pieces.score, cell, longest_piece * num_places)
    table = tf.reshape(table, [longest_piece, num_places])

    def step(rest, recent, bests):
        # recent[k, b] is the best score from k + 1 characters further right in block b.
        shape = [longest_piece, tf.gather(width, rest)]
        recent = tf.slice(recent, [0, 0], shape)
        best = tf.reduce_max(tf.slice(table, [0, tf.gather(offset, rest)], shape) + recent, 0)
        return rest + 1, tf.concat([best[None], recent[:-1]], 0), bests.write(rest, best)

    recent = tf.zeros([longest_piece, num_blocks], table.dtype)
    *_, bests = tf.while_loop(
        lambda rest, *_: rest <= longest,
        step,
        (1, recent, _array_of_vectors(table.dtype).write(0, recent[0])),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None] * 2), tf.TensorShape([])),
    )
    best = bests.concat()
    # The same two numbers are added again, so the sums that were best are exactly equal now.
    is_best = tf.gather(best, place) == pieces.score + tf.gather(best, next_place)
    return tf.math.unsorted_segment_max(tf.where(is_best, pieces.length, 0), pieces.start, size)


def _follow(lengths: tf.Tensor, block_starts: tf.Tensor) -> tf.Tensor:
    """Returns bool[N], the positions on the way from the block starts in steps of lengths[N]."""
    size = tf.size(lengths)
    first = tf.cast(tf.where(block_starts)[:, 0], tf.int32)
    # A way ends where the next block starts; `size` stands for its end.
    end = tf.concat([block_starts, [True]], 0)
    step = tf.range(size) + lengths
    jump = tf.concat([tf.where(tf.gather(end, step), size, step), [size]], 0)

    # After i rounds, a jump is 2**i steps and visited holds the first 2**i positions of each way.
    def double(_, visited, jump):
        target = tf.gather(jump, visited)
        new = tf.boolean_mask(target, target < size)
        return tf.size(new), tf.concat([visited, new], 0), tf.gather(jump, jump)

    _, visited, _ = tf.while_loop(
        lambda num_new, *_: num_new > 0,
        double,
        (tf.size(first), first, jump),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None]), tf.TensorShape([None])),
    )
    return _mark(visited, size)


def _mark(positions: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns bool[size], true at the positions."""
    return tf.math.unsorted_segment_sum(tf.ones_like(positions), positions, size) > 0


def _array_of_vectors(dtype: tf.DType) -> tf.TensorArray:
    return tf.TensorArray(dtype, 0, dynamic_size=True, infer_shape=False, element_shape=[None])


def decode(texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the code points int32[N] of string[B], end to end, and int64[B + 1] row splits.

    Each invalid sequence of bytes is U+FFFD; NUL and unassigned code points are kept.
    """
    ragged = tf.strings.unicode_decode(texts, "UTF-8", errors="replace")
    return ragged.values, ragged.row_splits


def mark_rows(characters: tf.Tensor, row_splits: tf.Tensor) -> tf.Tensor:
    """Returns bool[N], true at the first character of each row that is not empty."""
    # The last split is the end, and empty last rows begin there too: one position more.
    return _mark(row_splits, tf.size(characters) + 1)[:-1]


def encode(characters: tf.Tensor, row_splits: tf.Tensor, starts: tf.Tensor) -> tf.RaggedTensor:
    """Puts characters together to tokens.

    Args:
      characters: int32[N].
      row_splits: int64[B + 1].
      starts: bool[N], true at the first character of each token, so at that of each row.

    Returns:
      RaggedTensor string[B, None].
    """
    begin = tf.where(starts)[:, 0]
    splits = tf.concat([begin, row_splits[-1:]], 0)
    tokens = tf.strings.unicode_encode(
        tf.RaggedTensor.from_row_splits(characters, splits, validate=False), "UTF-8"
    )
    count = tf.concat([[0], tf.cumsum(tf.cast(starts, tf.int64))], 0)
    return tf.RaggedTensor.from_row_splits(tokens, tf.gather(count, row_splits), validate=False)

"""A trie of pieces, whose edges are the rows of one hash table.

An edge is a node and a character, and leads to a node; all texts can be walked at once.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

# node * 2**21 + code point names an edge: code points end at 0x10FFFF, and -1, which stands for no
# character, names no edge.
_EDGES_PER_NODE = 2**21


class Trie(NamedTuple):
    """A trie whose root is node 0; edge i leads to node i + 1, and edges stand level by level.

    Attributes:
      parent: int[edges], where an edge begins.
      character: int[edges], its code point; parent and character are sorted within a level.
      level_ends: int[depth + 1], each level's last node.
      value: int[edges + 1], of each node, 0 where no piece ends.
    """

    parent: np.ndarray
    character: np.ndarray
    level_ends: np.ndarray
    value: np.ndarray


def build_trie(pieces: Sequence[str], values: np.ndarray) -> Trie:
    """Builds a trie.

    Args:
      pieces: distinct, none empty.
      values: int[len(pieces)], above 0.

    Raises:
      ValueError: an empty or repeated piece, or no pieces.
    """
    lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
    if not len(pieces) or not lengths.all():
        raise ValueError("pieces must be at least one, and none empty")
    characters = np.frombuffer("".join(pieces).encode("utf-32-le"), np.uint32).astype(np.int64)
    begin = np.cumsum(lengths) - lengths
    node = np.zeros(len(pieces), np.int64)
    edges, level_ends = [], [0]
    longer = np.arange(len(pieces))
    for depth in range(lengths.max()):
        longer = longer[lengths[longer] > depth]
        edge = edge_of(node[longer], characters[begin[longer] + depth])
        distinct, index = np.unique(edge, return_inverse=True)
        node[longer] = level_ends[-1] + 1 + index
        level_ends.append(level_ends[-1] + len(distinct))
        edges.append(distinct)
    value = np.zeros(level_ends[-1] + 1, np.int64)
    value[node] = values
    if np.count_nonzero(value) < len(pieces):
        raise ValueError("pieces must be distinct")
    parent, character = np.divmod(np.concatenate(edges), _EDGES_PER_NODE)
    return Trie(parent, character, np.asarray(level_ends), value)


class TrieInitializer(tf.lookup.KeyValueTensorInitializer):
    """Fills a hash table from edge to child; keeps half the bytes of its keys and values.

    What a SavedModel carries is what the table is made from, so keys and values, which follow from
    the trie's two columns, are worked out when the table is filled.
    """

    def __init__(self, trie: Trie) -> None:
        """Keeps the two columns."""
        self._parent = tf.constant(narrow(trie.parent))
        self._character = tf.constant(narrow(trie.character))
        super().__init__(tf.constant([], tf.int64), tf.constant([], tf.int32))

    def initialize(self, table):
        """Fills the table; `tf.lookup.StaticHashTable` calls it."""
        keys = edge_of(tf.cast(self._parent, tf.int64), tf.cast(self._character, tf.int64))
        return tf.raw_ops.LookupTableImportV2(
            table_handle=table.resource_handle, keys=keys, values=tf.range(1, tf.size(keys) + 1)
        )


def edge_of(node: Any, character: Any) -> Any:
    """Returns the names int64[N] of edges, from int64[N] nodes and int64[N] characters."""
    return node * _EDGES_PER_NODE + character


def narrow(array: np.ndarray) -> np.ndarray:
    """Returns numbers that are not negative in as few bytes as TensorFlow's ops will take."""
    return array.astype(np.uint16 if array.max() < 2**16 else np.int32)

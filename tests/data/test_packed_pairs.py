"""Packed pairs are read as a decoder wants them: shifted, padded, cut, and weighed."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tests.data.pairs import ids_of, pack_pairs
from tests.disk import full_disk
from tfcamp.data.packed_pairs import PackedPairs
from tfcamp.text.vocabulary import BEGIN_ID, END_ID


@pytest.fixture
def pairs(tmp_path: Path) -> PackedPairs:
    source = tf.ragged.constant([[7, 8, END_ID], [9, END_ID], [END_ID]], tf.int64)
    target = tf.ragged.constant([[5, END_ID], [4, 6, 5, END_ID], [END_ID]], tf.int64)
    return PackedPairs.write(
        tmp_path / "packed", [(source[:2], target[:2]), (source[2:], target[2:])]
    )


def test_a_batch_by_hand(pairs: PackedPairs) -> None:
    assert len(pairs) == 3 and pairs.lengths.tolist() == [[3, 2], [2, 4], [1, 1]]
    inputs, labels, weights = pairs.read(np.array([1, 2, 0]), (4, 5))
    assert inputs["source"].tolist() == [[9, 3, 0, 0], [3, 0, 0, 0], [7, 8, 3, 0]]
    assert inputs["target"].tolist() == [[2, 4, 6, 5, 0], [2, 0, 0, 0, 0], [2, 5, 0, 0, 0]]
    assert labels.tolist() == [[4, 6, 5, 3, 0], [3, 0, 0, 0, 0], [5, 3, 0, 0, 0]]
    assert weights.tolist() == [[1, 1, 1, 1, 0], [1, 0, 0, 0, 0], [1, 1, 0, 0, 0]]
    dtypes = [array.dtype for array in (inputs["source"], inputs["target"], labels, weights)]
    assert dtypes == [np.int32, np.int32, np.int32, np.float32]


def test_a_cut_source_still_ends_and_a_cut_target_does_not(pairs: PackedPairs) -> None:
    inputs, labels, weights = pairs.read(np.array([0, 1]), (2, 2))
    assert inputs["source"].tolist() == [[7, 3], [9, 3]]
    assert inputs["target"].tolist() == [[2, 5], [2, 4]]
    assert labels.tolist() == [[5, 3], [4, 6]]
    assert weights.tolist() == [[1, 1], [1, 1]]


def test_rows_that_fill_up_weigh_nothing(pairs: PackedPairs) -> None:
    _, labels, weights = pairs.read(np.array([0, 1, 0]), (3, 4), num_real=1)
    assert weights.tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert labels[2].tolist() == labels[0].tolist()


lengths = st.tuples(st.integers(1, 9), st.integers(1, 9))


@given(st.lists(lengths, min_size=1, max_size=12), st.data())
def test_every_row_is_read_back(tmp_path_factory, sizes, data) -> None:
    pairs = pack_pairs(tmp_path_factory.mktemp("packed") / "rows", sizes)
    rows = data.draw(st.lists(st.integers(0, len(sizes) - 1), min_size=1, max_size=20))
    inputs, labels, weights = pairs.read(np.array(rows), (9, 9))
    for place, row in enumerate(rows):
        source, target = sizes[row]
        assert inputs["source"][place].tolist() == ids_of(row, source) + [0] * (9 - source)
        tokens = [-token for token in ids_of(row, target)[:-1]]
        assert labels[place].tolist() == [*tokens, END_ID] + [0] * (9 - target)
        assert inputs["target"][place].tolist() == [BEGIN_ID, *tokens] + [0] * (9 - target)
        assert weights[place].tolist() == [1] * target + [0] * (9 - target)


def test_the_signature_is_that_of_what_is_read(pairs: PackedPairs) -> None:
    for signature in (pairs.signature(2, (3, 4)), pairs.signature(None, None)):
        specs = tf.nest.flatten(signature)
        arrays = tf.nest.flatten(pairs.read(np.array([0, 1]), (3, 4)))
        for spec, array in zip(specs, arrays, strict=True):
            assert spec.is_compatible_with(tf.constant(array))
    inputs, labels, weights = pairs.signature(2, (3, 4))
    assert inputs["source"].shape == (2, 3) and inputs["target"].shape == (2, 4)
    assert labels.shape == weights.shape == (2, 4)


def test_a_row_without_an_end_is_a_mistake(tmp_path: Path) -> None:
    whole = tf.ragged.constant([[5, END_ID]], tf.int32)
    for broken in ([[5, 6]], [[]]):
        ids = tf.ragged.constant(broken, tf.int32, ragged_rank=1)
        for batch in ((whole, ids), (ids, whole)):
            with pytest.raises(ValueError, match="must end with 3"):
                PackedPairs.write(tmp_path / "packed", [batch])
    with pytest.raises(FileNotFoundError):
        PackedPairs(tmp_path / "packed")


def test_sides_of_different_sizes_are_a_mistake(tmp_path: Path) -> None:
    two, one = tf.constant([[3], [3]]), tf.constant([[3]])
    batch = (tf.RaggedTensor.from_tensor(two), tf.RaggedTensor.from_tensor(one))
    with pytest.raises(ValueError):
        PackedPairs.write(tmp_path / "packed", [batch])


def test_no_pairs_can_be_packed(tmp_path: Path) -> None:
    pairs = PackedPairs.write(tmp_path / "packed", [])
    assert len(pairs) == 0 and pairs.lengths.shape == (0, 2)


def test_a_full_disk_names_itself(tmp_path: Path) -> None:
    ids = tf.RaggedTensor.from_row_lengths([END_ID] * 10_000, [1] * 10_000)
    with full_disk(4096), pytest.raises(OSError) as caught:
        PackedPairs.write(tmp_path / "packed", [(ids, ids)])
    assert caught.value.errno is not None
    assert not (tmp_path / "packed").exists()

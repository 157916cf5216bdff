"""What is too long or too unequal is left out, and counted."""

from collections.abc import Sequence

import pytest
import tensorflow as tf

from tfcamp.data.pair_filter import PairFilter


def kept_by(pair_filter: PairFilter, *batches: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The lengths of the pairs that pass; ids tell whether both sides are of one pair."""
    encoded = []
    for lengths in batches:
        sides = ([[row] * pair[side] for row, pair in enumerate(lengths)] for side in (0, 1))
        encoded.append(tuple(tf.ragged.constant(side, tf.int32, ragged_rank=1) for side in sides))
    kept = []
    for source, target in pair_filter(encoded):
        for source_ids, target_ids in zip(source.to_list(), target.to_list(), strict=True):
            assert set(source_ids) == set(target_ids)
            kept.append((len(source_ids), len(target_ids)))
    return kept


def test_the_limits_are_kept_and_what_is_beyond_is_not() -> None:
    pair_filter = PairFilter(max_tokens=10, max_ratio=2.5)
    kept = kept_by(pair_filter, [(10, 4), (11, 11), (10, 11), (4, 10), (10, 3)], [(3, 10), (1, 2)])
    assert kept == [(10, 4), (4, 10), (1, 2)]
    assert (pair_filter.num_pairs, pair_filter.num_long, pair_filter.num_unequal) == (7, 2, 2)
    assert str(pair_filter) == (
        "4 of 7 pairs left out: 2 longer than 10 tokens, "
        "2 more than 2.5 times as long as the other side"
    )


def test_a_pair_is_counted_once() -> None:
    pair_filter = PairFilter(max_tokens=10, max_ratio=2)
    assert kept_by(pair_filter, [(11, 1)]) == []
    assert str(pair_filter) == "1 of 1 pairs left out: 1 longer than 10 tokens"


def test_nothing_left_out_is_said_too() -> None:
    pair_filter = PairFilter(max_tokens=10, max_ratio=2)
    assert kept_by(pair_filter, [(5, 5), (2, 4)]) == [(5, 5), (2, 4)]
    assert str(pair_filter) == "0 of 2 pairs left out"


@pytest.mark.parametrize(
    "limits", [{"max_tokens": 0, "max_ratio": 2}, {"max_tokens": 9, "max_ratio": 0.9}]
)
def test_limits_that_nothing_can_meet(limits: dict) -> None:
    with pytest.raises(ValueError, match="nothing has at most"):
        PairFilter(**limits)

"""Batches by token count: every row once, within the budget, in few shapes, with little padding."""

from collections import Counter
from itertools import islice
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tests.data.pairs import pack_pairs, random_lengths
from tfcamp.data.packed_pairs import PackedPairs
from tfcamp.data.parallel_sources import load_parallel_dataset
from tfcamp.data.pipeline import Batch, BatchStream, Examples, Padding
from tfcamp.data.plans import TokenBudget, _best_cut, assign_buckets, choose_buckets, plan_epoch

# One length for each row, or two.
all_lengths = st.one_of(
    st.lists(st.integers(1, 20), min_size=1, max_size=60),
    st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=60),
).map(lambda rows: np.array(rows, np.int32))
pair_lengths = st.lists(
    st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=60
).map(lambda rows: np.array(rows, np.int32))
budgets = st.integers(1, 100).map(TokenBudget)
num_buckets = st.integers(1, 6)
seeds = st.none() | st.integers(0, 2**32)
NUM_ROWS = 60


def bounds_of(lengths: np.ndarray, num: int) -> tuple:
    """Chooses buckets; numbers for rows that have one length."""
    if lengths.ndim == 2:
        return choose_buckets(lengths, num)
    return tuple(bound for (bound,) in choose_buckets(lengths[:, np.newaxis], num))


class TestBuckets:
    def test_the_budget_counts_the_longer_side(self) -> None:
        assert TokenBudget(100).num_rows(7) == 14
        assert TokenBudget(100).num_rows((7, 20)) == TokenBudget(100).num_rows((20, 7)) == 5
        assert TokenBudget(10).num_rows((3, 20)) == 1

    def test_a_row_belongs_to_the_first_bucket_that_holds_it(self) -> None:
        bounds = [(3, 3), (5, 2), (5, 5), (9, 9)]
        lengths = np.array([[3, 3], [4, 2], [4, 3], [1, 4], [9, 1], [1, 10]])
        assert assign_buckets(lengths, bounds).tolist() == [0, 1, 2, 2, 3, 4]
        assert assign_buckets(np.array([1, 4, 5, 9]), [4, 8]).tolist() == [0, 0, 1, 2]

    def test_the_best_cut_is_made_first(self) -> None:
        """By hand: 10 pairs of 2 and 2, one of 2 and 9, one of 8 and 8, padded to 8 and 9."""
        lengths = np.array([[2, 2]] * 10 + [[2, 9], [8, 8]])
        assert choose_buckets(lengths, 1) == ((8, 9),)
        assert choose_buckets(lengths, 2) == ((2, 2), (8, 9))
        # The last bucket must hold every row, so that the third cut saves only what it may.
        assert choose_buckets(lengths, 3) == ((2, 2), (2, 9), (8, 9))

    @given(pair_lengths, num_buckets)
    def test_chosen_buckets_are_few_ascend_and_hold_every_row(self, lengths, num) -> None:
        bounds = choose_buckets(lengths, num)
        assert len(set(bounds)) == len(bounds) <= num
        assert bounds[-1] == tuple(lengths.max(axis=0))
        assert [sum(bound) for bound in bounds] == sorted(sum(bound) for bound in bounds)
        assert (assign_buckets(lengths, bounds) < len(bounds)).all()

    @given(pair_lengths)
    def test_the_best_cut_is_the_best_of_all(self, lengths) -> None:
        def positions(rows: np.ndarray) -> int:
            return len(rows) * int(rows.max(axis=0).sum())

        savings = [0]
        for side in (0, 1):
            for longest in range(1, lengths[:, side].max()):
                is_short = lengths[:, side] <= longest
                if is_short.any():
                    halves = positions(lengths[is_short]) + positions(lengths[~is_short])
                    savings.append(positions(lengths) - halves)
        assert _best_cut(lengths).saving == max(savings)

    def test_each_length_of_its_own_needs_no_padding(self) -> None:
        lengths = np.array([[3, 4], [3, 4], [5, 2], [9, 9]])
        assert choose_buckets(lengths, 99) == ((3, 4), (5, 2), (9, 9))

    def test_a_sample_of_many_rows_misses_no_long_one(self, monkeypatch) -> None:
        monkeypatch.setattr("tfcamp.data.plans._SAMPLE_ROWS", 50)
        lengths = random_lengths(999)
        lengths[500] = 70, 80
        assert choose_buckets(lengths, 8)[-1] == (70, 80)

    def test_no_rows_have_no_buckets(self) -> None:
        with pytest.raises(ValueError, match="no rows"):
            choose_buckets(np.zeros((0, 2), np.int32))


class TestPlan:
    @given(all_lengths, budgets, num_buckets, seeds, st.integers(0, 5))
    def test_an_epoch_has_every_row_once_and_keeps_the_budget(
        self, lengths, budget, num, seed, epoch
    ) -> None:
        bounds = bounds_of(lengths, num)
        plan = plan_epoch(lengths, budget, seed=seed, epoch=epoch, bucket_lengths=bounds)
        assert Counter(row for rows in plan for row in rows) == Counter(range(len(lengths)))
        for rows in plan:
            longest = lengths[rows].max()
            assert len(rows) == 1 or len(rows) * longest <= budget.num_tokens

    @given(pair_lengths, budgets, num_buckets, st.integers(0, 2**32))
    def test_every_epoch_has_as_many_batches(self, lengths, budget, num, seed) -> None:
        bounds = choose_buckets(lengths, num)
        counts = {
            len(plan_epoch(lengths, budget, seed=seed, epoch=epoch, bucket_lengths=bounds))
            for epoch in range(5)
        }
        assert len(counts) == 1

    @given(pair_lengths, budgets, num_buckets, st.integers(0, 2**32), st.integers(0, 5))
    def test_a_plan_depends_on_seed_and_epoch_alone(
        self, lengths, budget, num, seed, epoch
    ) -> None:
        bounds = choose_buckets(lengths, num)
        once, again = (
            plan_epoch(lengths, budget, seed=seed, epoch=epoch, bucket_lengths=bounds)
            for _ in range(2)
        )
        assert [rows.tolist() for rows in once] == [rows.tolist() for rows in again]

    def test_what_a_bucket_leaves_over_goes_to_the_next_that_holds_it(self) -> None:
        """By hand: of five pairs of 2 and 2, three fill a batch, and two go on to 2 and 4."""
        lengths = np.array([[2, 2]] * 5 + [[4, 2]] * 2 + [[2, 4]])
        bounds = [(2, 2), (3, 1), (2, 4), (4, 4)]
        plan = plan_epoch(lengths, TokenBudget(6), seed=None, bucket_lengths=bounds)
        assert [rows.tolist() for rows in plan] == [[0, 1, 2], [3], [4], [7], [5], [6]]
        plan = plan_epoch(lengths, TokenBudget(8), seed=None, bucket_lengths=bounds)
        assert [rows.tolist() for rows in plan] == [[0, 1, 2, 3], [4, 7], [5, 6]]

    def test_only_one_batch_of_a_chain_of_buckets_is_small(self) -> None:
        lengths = random_lengths(500)
        bounds = choose_buckets(lengths, 8)
        plan = plan_epoch(lengths, TokenBudget(100), seed=0, bucket_lengths=bounds)
        sizes = {TokenBudget(100).num_rows(bound) for bound in bounds}
        assert sum(len(rows) not in sizes for rows in plan) <= 1

    @given(pair_lengths, budgets, num_buckets, st.integers(0, 2**32))
    def test_only_full_leaves_out_less_than_the_last_batch(
        self, lengths, budget, num, seed
    ) -> None:
        bounds = choose_buckets(lengths, num)
        plan = plan_epoch(lengths, budget, seed=seed, bucket_lengths=bounds, only_full=True)
        rows = [row for batch in plan for row in batch]
        assert len(set(rows)) == len(rows)
        assert len(lengths) - len(rows) < budget.num_rows(bounds[-1])

    def test_rows_are_shuffled_and_not_only_batches(self) -> None:
        lengths = np.tile([[3, 4], [9, 8]], (100, 1))
        bounds = choose_buckets(lengths, 2)
        compositions, orders = set(), set()
        for epoch in range(4):
            plan = plan_epoch(lengths, TokenBudget(40), seed=0, epoch=epoch, bucket_lengths=bounds)
            compositions |= {frozenset(rows.tolist()) for rows in plan}
            orders.add(tuple(np.concatenate(plan)))
        assert len(orders) == 4
        assert len(compositions) == 4 * (100 // 10 + 100 // 4)

    def test_a_row_beyond_all_buckets_is_a_mistake(self) -> None:
        with pytest.raises(ValueError, match="longer than the last"):
            plan_epoch(np.array([3, 9]), TokenBudget(9), seed=None, bucket_lengths=[4])


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> PackedPairs:
    folder = tmp_path_factory.mktemp("packed") / "rows"
    return pack_pairs(folder, random_lengths(NUM_ROWS).tolist())


def stream_of(
    pairs: Examples,
    *,
    budget: int = 120,
    num: int = 5,
    seed: int | None = 3,
    static: bool = False,
) -> BatchStream:
    *smaller, largest = choose_buckets(pairs.lengths, num)
    return BatchStream(pairs, TokenBudget(budget), seed, largest, tuple(smaller), static)


def row_numbers(batch) -> list[int]:
    """The numbers of the real rows of a batch, which their first source tokens tell."""
    inputs, _, weights = batch
    # A source of the end token alone tells nothing: random_lengths makes none.
    return [int(ids[0]) // 1000 - 1 for ids in inputs["source"][weights.any(axis=1)]]


class TestStream:
    @given(st.integers(30, 300), num_buckets, seeds, st.booleans())
    def test_batches_hold_the_rows_of_the_plan(self, pairs, budget, num, seed, static) -> None:
        stream = stream_of(pairs, budget=budget, num=num, seed=seed, static=static)
        seen, num_batches = [], 0
        for batch in stream.batches(num_epochs=1):
            inputs, labels, weights = batch
            num_rows, source_length = inputs["source"].shape
            assert inputs["target"].shape == labels.shape == weights.shape
            assert num_rows == 1 or num_rows * max(source_length, labels.shape[1]) <= budget
            seen += row_numbers(batch)
            num_batches += 1
        assert seen == stream.rows().tolist()
        assert sorted(seen) == list(range(NUM_ROWS))
        assert num_batches == stream.steps_per_epoch

    @given(st.integers(30, 300), num_buckets)
    def test_static_shapes_are_those_of_the_buckets(self, pairs, budget, num) -> None:
        stream = stream_of(pairs, budget=budget, num=num, static=True)
        declared = {
            (max(1, budget // max(bound)), *bound) for bound in choose_buckets(pairs.lengths, num)
        }
        shapes = {
            (*inputs["source"].shape, labels.shape[1])
            for inputs, labels, _ in stream.batches(num_epochs=1)
        }
        assert shapes <= declared
        assert stream.padding().num_shapes == len(shapes)

    def test_other_batches_are_as_wide_as_their_longest_rows(self, pairs) -> None:
        stream = stream_of(pairs)
        for batch in stream.batches(num_epochs=1):
            longest = pairs.lengths[row_numbers(batch)].max(axis=0)
            assert (batch[0]["source"].shape[1], batch[1].shape[1]) == tuple(longest)
            assert len(row_numbers(batch)) == len(batch[1])

    @given(seeds, st.booleans(), st.data())
    def test_it_goes_on_exactly_where_its_step_says(self, pairs, seed, static, data) -> None:
        stream = stream_of(pairs, seed=seed, static=static)
        num_steps = 2 * stream.steps_per_epoch
        start = data.draw(st.integers(0, num_steps), label="start")
        expected = islice(stream.batches(), start, num_steps)
        for ours, theirs in zip(stream.batches(start, num_epochs=2), expected, strict=True):
            tf.nest.map_structure(np.testing.assert_array_equal, ours, theirs)

    @pytest.mark.parametrize("static", [False, True])
    @pytest.mark.parametrize("num_pipelines", [1, 2, 4])
    def test_the_shards_of_a_batch_are_the_batch(self, pairs, num_pipelines, static) -> None:
        stream = stream_of(pairs, static=static)
        contexts = [tf.distribute.InputContext(num_pipelines, i, 4) for i in range(num_pipelines)]
        pipelines = [
            stream.dataset(5, num_epochs=2, context=context, row_multiple=2).as_numpy_iterator()
            for context in contexts
        ]
        for batch in stream.batches(5, num_epochs=2):
            shards = [next(pipeline) for pipeline in pipelines for _ in range(4 // num_pipelines)]
            assert len({(shard[0]["source"].shape, shard[1].shape) for shard in shards}) == 1
            assert len(shards[0][1]) % 2 == 0
            assert [row for shard in shards for row in row_numbers(shard)] == row_numbers(batch)
            assert {shard[1].shape[1] for shard in shards} == {batch[1].shape[1]}
        assert all(next(pipeline, None) is None for pipeline in pipelines)

    def test_one_bucket_has_one_shape_and_the_compiler_knows_it(self, pairs) -> None:
        stream = stream_of(pairs, num=1, static=True)
        assert stream.has_one_shape and not stream_of(pairs, static=True).has_one_shape
        specs: Any = stream.dataset().element_spec
        inputs, labels, weights = specs
        source, target = pairs.lengths.max(axis=0)
        assert inputs["source"].shape == (120 // max(source, target), source)
        assert inputs["target"].shape == labels.shape == weights.shape
        assert labels.shape == (120 // max(source, target), target)

    def test_longer_rows_are_cut(self, pairs) -> None:
        stream = BatchStream(pairs, TokenBudget(60), 0, (6, 5), ((4, 4),), static_shapes=True)
        seen = []
        for inputs, labels, weights in stream.batches(num_epochs=1):
            shape = inputs["source"].shape, labels.shape
            assert shape in (((15, 4), (15, 4)), ((10, 6), (10, 5)))
            seen += row_numbers((inputs, labels, weights))
        assert sorted(seen) == list(range(NUM_ROWS))

    def test_padding_by_hand(self, tmp_path) -> None:
        """Two pairs of 2 and 3, one of 4 and 4; 6 tokens a batch."""
        examples = pack_pairs(tmp_path / "packed", [(2, 3), (4, 4), (2, 3)])
        stream = BatchStream(examples, TokenBudget(6), None, (4, 4), ((2, 3),))
        assert stream.padding() == Padding(num_tokens=18, num_positions=18, num_shapes=2)
        stream = BatchStream(examples, TokenBudget(8), None, (4, 4))
        # Rows 0 and 1 as 2 x (4 + 4), then row 2 as 1 x (2 + 3).
        assert stream.padding() == Padding(num_tokens=18, num_positions=21, num_shapes=2)
        assert stream.padding().token_share == pytest.approx(18 / 21)
        stream = BatchStream(examples, TokenBudget(8), None, (4, 4), static_shapes=True)
        assert stream.padding() == Padding(num_tokens=18, num_positions=32, num_shapes=1)

    @pytest.mark.parametrize("static", [False, True])
    def test_padding_is_that_of_the_batches(self, pairs, static) -> None:
        stream = stream_of(pairs, static=static)
        tokens = positions = 0
        for inputs, labels, weights in stream.batches(num_epochs=1):
            real = weights.any(axis=1)
            tokens += np.count_nonzero(inputs["source"][real]) + np.count_nonzero(weights)
            positions += inputs["source"].size + labels.size
        assert (tokens, positions) == stream.padding()[:2]


class Lengths:
    """Examples that have lengths only."""

    def __init__(self, lengths: np.ndarray) -> None:
        self.lengths = lengths

    def read(self, rows: np.ndarray, length: Any, num_real: int | None = None) -> Batch:
        raise NotImplementedError

    def signature(self, num_rows: int | None, length: Any) -> tuple:
        raise NotImplementedError


@pytest.mark.parametrize("static", [False, True])
def test_most_positions_are_tokens(static) -> None:
    """In batches of as many tokens; not so in shuffled batches of as many rows."""
    examples = Lengths(random_lengths(5000, longest=40))
    *smaller, largest = choose_buckets(examples.lengths)
    stream = BatchStream(examples, TokenBudget(1024), 0, largest, tuple(smaller), static)
    assert stream.padding().token_share > 0.85
    assert BatchStream(examples, 64, 0, largest).padding().token_share < 0.6


@pytest.mark.parametrize("name", ["multi30k", "captions_en_zh"])
def test_most_positions_are_tokens_of_real_pairs(shared_data, name) -> None:
    """Words, and two Chinese characters, stand for subwords, of which there are about as many."""

    def length(sentence: str) -> int:
        return 1 + max(len(sentence.split()), round(len(sentence.encode()) / 6))

    rows = load_parallel_dataset(name, data_dir=shared_data, seed=0).train
    examples = Lengths(np.array([[length(row.source), length(row.target)] for row in rows]))
    *smaller, largest = choose_buckets(examples.lengths)
    for static in (False, True):
        stream = BatchStream(examples, TokenBudget(2048), 0, largest, tuple(smaller), static)
        assert stream.padding().token_share > 0.85
        assert stream.padding().num_shapes <= 20 or not static

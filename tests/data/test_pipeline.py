"""The plan of an epoch keeps every row, and the position in the data is nothing but the step."""

import math
import os
import subprocess
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tests.data.packing import pack
from tests.disk import full_disk
from tfcamp.data.packed_text import PackedExamples
from tfcamp.data.pipeline import Batch, BatchStream, plan_epoch

row_lengths = st.lists(st.integers(0, 20), max_size=60).map(lambda it: np.array(it, np.int32))
batch_sizes = st.integers(1, 9)
buckets = st.sets(st.integers(1, 15), max_size=3).map(lambda bounds: tuple(sorted(bounds)))
seeds = st.none() | st.integers(0, 2**32)

NUM_ROWS = 53
MAX_LENGTH = 12


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> PackedExamples:
    """Rows of 0 to 16 tokens, two streams; ids and labels tell where they come from."""
    random = np.random.default_rng(3)
    rows = [[100 * row + place for place in range(random.integers(0, 17))] for row in range(53)]
    return pack(tmp_path_factory.mktemp("packed") / "rows", rows, streams=("word", "char"))


def test_rows_count_unless_it_is_said_that_they_only_fill_up(examples) -> None:
    rows = np.arange(3)
    assert examples.read(rows, 4)[2].tolist() == [1, 1, 1]
    assert examples.read(rows, 4, num_real=1)[2].tolist() == [1, 0, 0]


def assert_same_batches(ours: Iterable[Any], expected: Iterable[Batch]) -> None:
    for (inputs, *rest), (expected_inputs, *expected_rest) in zip(ours, expected, strict=True):
        assert inputs.keys() == expected_inputs.keys()
        for name in inputs:
            np.testing.assert_array_equal(inputs[name], expected_inputs[name])
        for array, expected_array in zip(rest, expected_rest, strict=True):
            np.testing.assert_array_equal(array, expected_array)


@given(row_lengths, batch_sizes, buckets, seeds, st.integers(0, 5))
def test_an_epoch_has_every_row_once_in_a_batch_of_its_bucket(
    lengths, batch_size, bounds, seed, epoch
):
    plan = plan_epoch(lengths, batch_size, seed=seed, epoch=epoch, bucket_lengths=bounds)
    assert sorted(row for batch in plan for row in batch) == list(range(len(lengths)))
    bucket_sizes = Counter(bisect_left(bounds, length) for length in lengths)
    for batch in plan:
        assert 1 <= len(batch) <= batch_size
        assert len({bisect_left(bounds, lengths[row]) for row in batch}) == 1
    # Of no bucket is there more than one small batch, so their count is the same in each epoch.
    assert len(plan) == sum(math.ceil(size / batch_size) for size in bucket_sizes.values())


@given(row_lengths, batch_sizes, buckets, st.integers(0, 2**32), st.integers(0, 5))
def test_a_plan_depends_on_seed_and_epoch_alone(lengths, batch_size, bounds, seed, epoch):
    once, again = (
        plan_epoch(lengths, batch_size, seed=seed, epoch=epoch, bucket_lengths=bounds)
        for _ in range(2)
    )
    assert [rows.tolist() for rows in once] == [rows.tolist() for rows in again]


def test_examples_are_shuffled_anew_in_each_epoch_and_not_only_batches():
    lengths = np.tile([3, 9], 100)
    orders, compositions = set(), set()
    plans = [(seed, epoch) for seed in (0, 1) for epoch in range(4)]
    for seed, epoch in plans:
        plan = plan_epoch(lengths, 10, seed=seed, epoch=epoch, bucket_lengths=[4])
        orders.add(tuple(np.concatenate(plan)))
        compositions |= {frozenset(batch.tolist()) for batch in plan}
    assert len(orders) == len(plans)
    # Shuffling after batching would meet the same 20 batches again and again.
    assert len(compositions) == 20 * len(plans)


def test_batches_of_a_bucket_do_not_follow_each_other():
    """Short texts first and long ones last would be a curriculum that nobody asked for."""
    lengths = np.repeat([3, 9], 200)
    plan = plan_epoch(lengths, 10, seed=0, bucket_lengths=[4])
    kinds = [int(lengths[batch[0]]) for batch in plan]
    assert kinds != sorted(kinds) and kinds != sorted(kinds, reverse=True)


@given(batch_sizes, buckets, seeds, st.booleans(), st.data())
def test_a_stream_goes_on_exactly_where_its_step_says(
    examples, batch_size, bounds, seed, static, data
):
    stream = BatchStream(examples, batch_size, seed, 16, bounds, static)
    num_steps = 3 * stream.steps_per_epoch
    start = data.draw(st.integers(0, num_steps), label="start")
    expected = islice(stream.batches(), start, num_steps)
    assert_same_batches(stream.batches(start, num_epochs=3), expected)


@given(batch_sizes, buckets, seeds, st.booleans())
def test_batches_hold_the_rows_of_the_plan(examples, batch_size, bounds, seed, static):
    bounds = tuple(bound for bound in bounds if bound < MAX_LENGTH)
    stream = BatchStream(examples, batch_size, seed, MAX_LENGTH, bounds, static)
    seen = []
    for inputs, labels, weights in stream.batches(num_epochs=1):
        num_real = int(weights.sum())
        assert weights.tolist() == [1.0] * num_real + [0.0] * (len(weights) - num_real)
        for place, row in enumerate(labels):  # those that fill up a batch are copies
            tokens = [100 * row + i for i in range(min(examples.lengths[row], MAX_LENGTH))]
            padding = [0] * (inputs["word"].shape[1] - len(tokens))
            assert inputs["word"][place].tolist() == tokens + padding
            assert inputs["char"][place].tolist() == [i + 1000 for i in tokens] + padding
        seen += labels[:num_real].tolist()
    assert seen == stream.rows().tolist()
    assert sorted(seen) == list(range(NUM_ROWS))


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("num_pipelines", [1, 2, 4])
def test_the_shards_of_a_batch_are_the_batch(examples, num_pipelines, static):
    """Four replicas, fed by one pipeline or by several, as several machines have them."""
    stream = BatchStream(examples, 7, 0, MAX_LENGTH, (4, 9), static)
    contexts = [tf.distribute.InputContext(num_pipelines, i, 4) for i in range(num_pipelines)]
    pipelines = [
        stream.dataset(5, num_epochs=2, context=context, row_multiple=2).as_numpy_iterator()
        for context in contexts
    ]
    for _, labels, _ in BatchStream(examples, 7, 0, MAX_LENGTH, (4, 9)).batches(5, num_epochs=2):
        shards = [next(pipeline) for pipeline in pipelines for _ in range(4 // num_pipelines)]
        assert len({inputs["word"].shape for inputs, _, _ in shards}) == 1
        assert len(shards[0][1]) == 2
        real = [shard[shard_weights > 0] for _, shard, shard_weights in shards]
        assert np.concatenate(real).tolist() == labels.tolist()
    assert all(next(pipeline, None) is None for pipeline in pipelines)


def test_static_batches_have_the_shape_of_their_bucket(examples):
    stream = BatchStream(examples, 8, 0, MAX_LENGTH, (4, 9), static_shapes=True)
    widths = set()
    for inputs, labels, weights in stream.batches(num_epochs=1):
        longest = min(MAX_LENGTH, examples.lengths[labels[weights > 0]].max())
        bound = min(bound for bound in (4, 9, MAX_LENGTH) if longest <= bound)
        assert inputs["word"].shape == inputs["char"].shape == (8, bound)
        assert labels.shape == weights.shape == (8,)
        widths.add(bound)
    assert widths == {4, 9, MAX_LENGTH}


def test_other_batches_are_as_wide_as_their_longest_row(examples):
    stream = BatchStream(examples, 8, 0, MAX_LENGTH, (4, 9))
    for inputs, labels, weights in stream.batches(num_epochs=1):
        longest = max(1, min(MAX_LENGTH, examples.lengths[labels].max()))
        assert inputs["word"].shape == (len(labels), longest)
        assert weights.all()


@pytest.mark.parametrize("static", [False, True])
def test_dataset_equals_batches(examples, static):
    stream = BatchStream(examples, 8, 0, MAX_LENGTH, (4, 9), static)
    dataset = stream.dataset(start_step=5, num_epochs=2)
    assert_same_batches(dataset.as_numpy_iterator(), stream.batches(5, num_epochs=2))


def test_the_static_shape_of_a_dataset_without_buckets_is_known_to_the_compiler(examples):
    specs: Any = BatchStream(examples, 8, 0, 12, (), True).dataset().element_spec
    inputs, labels, weights = specs
    assert inputs["word"].shape == (8, 12)
    assert labels.shape == weights.shape == (8,)


@given(row_lengths, batch_sizes, buckets, st.integers(0, 2**32), st.integers(0, 5))
def test_full_batches_leave_out_less_than_a_batch_of_each_bucket(
    lengths, batch_size, bounds, seed, epoch
):
    plan = plan_epoch(
        lengths, batch_size, seed=seed, epoch=epoch, bucket_lengths=bounds, only_full=True
    )
    assert {len(batch) for batch in plan} <= {batch_size}
    rows = [row for batch in plan for row in batch]
    assert len(set(rows)) == len(rows)
    bucket_sizes = Counter(bisect_left(bounds, length) for length in lengths)
    assert len(plan) == sum(size // batch_size for size in bucket_sizes.values())


def test_full_batches_leave_out_other_rows_in_each_epoch():
    lengths = np.ones(19, np.int32)
    plans = [plan_epoch(lengths, 8, seed=0, epoch=epoch, only_full=True) for epoch in range(9)]
    left_out = [frozenset(range(19)) - set(np.concatenate(plan).tolist()) for plan in plans]
    assert {len(rows) for rows in left_out} == {3}
    assert len(set(left_out)) > 5


def remember_seed(inputs: Any, labels: Any, weights: Any, seed: tf.Tensor) -> Batch:
    return (
        {**inputs, "seed": seed, "drawn": tf.random.stateless_uniform([2], seed)},
        labels,
        weights,
    )


class TestTransform:
    def seeds(self, stream: BatchStream, start_step: int = 0, **options) -> list[tuple[int, ...]]:
        dataset = stream.dataset(start_step, num_epochs=2, **options).as_numpy_iterator()
        return [tuple(inputs["seed"].tolist()) for inputs, _, _ in dataset]

    def test_the_batches_are_the_same_and_come_in_order(self, examples) -> None:
        plain = BatchStream(examples, 8, 1, MAX_LENGTH, (4, 9))
        stream = BatchStream(examples, 8, 1, MAX_LENGTH, (4, 9), transform=remember_seed)
        batches = list(stream.dataset(num_epochs=2).as_numpy_iterator())
        for inputs, _, _ in batches:
            del inputs["seed"], inputs["drawn"]
        assert_same_batches(batches, plain.batches(num_epochs=2))

    def test_the_seed_is_that_of_the_stream_and_the_position(self, examples) -> None:
        stream = BatchStream(examples, 8, 7, MAX_LENGTH, (4, 9), transform=remember_seed)
        expected = [(7, position) for position in range(2 * stream.steps_per_epoch)]
        assert self.seeds(stream) == expected
        assert self.seeds(stream, 5) == expected[5:]

    @pytest.mark.parametrize("num_pipelines", [1, 2])
    def test_each_shard_has_a_seed_of_its_own(self, examples, num_pipelines) -> None:
        stream = BatchStream(examples, 8, 7, MAX_LENGTH, (4, 9), transform=remember_seed)
        contexts = [tf.distribute.InputContext(num_pipelines, i, 2) for i in range(num_pipelines)]
        seeds = [self.seeds(stream, 3, context=context) for context in contexts]
        expected = [(7, position) for position in range(6, 4 * stream.steps_per_epoch)]
        assert sorted(seed for part in seeds for seed in part) == expected

    def test_what_is_drawn_is_a_function_of_the_position(self, examples) -> None:
        """Another run, another start: the same augmentation, bit for bit."""
        stream = BatchStream(examples, 8, 2**32 - 1, MAX_LENGTH, (4, 9), transform=remember_seed)
        drawn = [
            [tuple(inputs["drawn"]) for inputs, _, _ in dataset.as_numpy_iterator()]
            for dataset in (stream.dataset(num_epochs=2), stream.dataset(4, num_epochs=2))
        ]
        assert drawn[0][4:] == drawn[1]
        assert len(set(drawn[0])) == len(drawn[0])

    def test_an_endless_stream_is_known_to_be_endless(self, examples) -> None:
        """Otherwise several replicas ask each other before each step whether data is left."""
        stream = BatchStream(examples, 8, 7, MAX_LENGTH, transform=remember_seed)
        assert stream.dataset().cardinality() == tf.data.INFINITE_CARDINALITY


def test_no_rows_make_no_batches(tmp_path):
    stream = BatchStream(PackedExamples.write(tmp_path / "packed", ["word"], []), 8, 0, 12)
    assert stream.steps_per_epoch == 0
    assert list(stream.batches(num_epochs=3)) == []


def encoded_rows(then: BaseException | None = None) -> Iterator[tuple[dict, list[int]]]:
    yield {"word": tf.ragged.constant([[1, 2], [3]], tf.int32)}, [0, 1]
    if then is not None:
        raise then


def test_a_crash_while_packing_leaves_nothing_to_read(tmp_path):
    folder = tmp_path / "packed"
    with pytest.raises(KeyboardInterrupt):
        PackedExamples.write(folder, ["word"], encoded_rows(then=KeyboardInterrupt()))
    with pytest.raises(FileNotFoundError):
        PackedExamples(folder)
    assert len(PackedExamples.write(folder, ["word"], encoded_rows())) == 2


def test_a_crash_while_packing_anew_keeps_the_old_rows(tmp_path):
    pack(tmp_path / "packed", [[7], [8], [9]])
    with pytest.raises(KeyboardInterrupt):
        PackedExamples.write(tmp_path / "packed", ["word"], encoded_rows(then=KeyboardInterrupt()))
    (inputs, _, _) = PackedExamples(tmp_path / "packed").read(np.arange(3), 1)
    assert inputs["word"].tolist() == [[7], [8], [9]]


def test_a_full_disk_names_itself(tmp_path):
    """np.save writes "609 requested and 300 written", which no one can tell from a bug."""
    batches = [({"word": tf.RaggedTensor.from_row_lengths([1], [1] + [0] * 9999)}, [0] * 10_000)]
    with full_disk(4096), pytest.raises(OSError) as caught:
        PackedExamples.write(tmp_path / "packed", ["word"], batches)
    assert caught.value.errno is not None
    assert not (tmp_path / "packed").exists()


def test_a_file_that_was_cut_off_is_named(tmp_path):
    packed = pack(tmp_path / "packed", [[7, 8], [], [9, 10]], streams=("word", "char"))
    path = tmp_path / "packed/ids.bin"
    path.write_bytes(path.read_bytes()[:-1])
    assert packed.read(np.arange(2), 2)[0]["word"].tolist() == [[7, 8], [0, 0]]
    with pytest.raises(OSError, match=r"ids\.bin is cut off"):
        packed.read(np.array([2]), 2)


# Rows through the whole road of a text data set, and the most memory that was resident meanwhile.
MEASURE_MEMORY = """
import sys
from collections import Counter
from pathlib import Path

import psutil
import tensorflow as tf

import tfcamp
from tfcamp.data.packed_text import PackedExamples
from tfcamp.data.pipeline import BatchStream
from tfcamp.text.corpus import TokenCorpus, batched
from tfcamp.text.vocabulary import Vocabulary

num_rows, folder = int(sys.argv[1]), Path(sys.argv[2])
process, peak = psutil.Process(), 0

def measure():
    global peak
    peak = max(peak, process.memory_info().rss)

def texts():
    for row in range(num_rows):
        if row % 5000 == 0:
            measure()
        yield " ".join(f"token{(row * step) % 4999}" for step in range(1, 21))

def encoded(corpus, vocabulary):
    for rows in batched(corpus, 1024):
        texts = tf.constant([" ".join(row) for row in rows])
        yield {"word": vocabulary(tf.strings.split(texts))}, [0] * len(rows)

corpus = TokenCorpus.write(folder / "tokens.txt", texts(), tf.strings.split)
vocabulary = Vocabulary.fit(Counter(token for row in corpus for token in row))
measure()
examples = PackedExamples.write(folder / "packed", ["word"], encoded(corpus, vocabulary))
measure()
stream = BatchStream(examples, 512, 0, 20)
for step, (inputs, _, _) in enumerate(stream.dataset(num_epochs=1)):
    if step % 20 == 0:
        measure()
measure()
print(peak)
"""


@pytest.mark.slow
def test_memory_stays_flat_when_the_data_grow_ten_fold(tmp_path):
    def peak_memory(num_rows: int) -> int:
        folder = tmp_path / str(num_rows)
        folder.mkdir()
        command = [sys.executable, "-c", MEASURE_MEMORY, str(num_rows), str(folder)]
        answer = subprocess.run(
            command, check=True, capture_output=True, text=True, env={**os.environ}
        )
        return int(answer.stdout.split()[-1])

    small, large = peak_memory(60_000), peak_memory(600_000)
    assert large < 1.2 * small, f"{small / 2**20:.0f} MB grew to {large / 2**20:.0f} MB"

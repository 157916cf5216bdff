"""CTC decoding against every number there is, and inside a SavedModel."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.test_losses_sequence import log_probability_of_every_number
from tfcamp.decoding.ctc import decode_by_beam_search, decode_greedily, search_prefixes
from tfcamp.losses import ctc_log_probability

DECODERS = {"greedy": decode_greedily, "beam": decode_by_beam_search}


def number_of(row) -> tuple[int, ...]:
    return tuple(int(digit) for digit in row if digit >= 0)


def random_logits(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=scale, size=shape).astype(np.float32)


def shown(path: list[int], num_digits: int = 10) -> np.ndarray:
    """Logits of a model that is sure of a path."""
    return 20 * np.eye(num_digits + 1, dtype=np.float32)[path]


# 10 is the blank.
PATHS = {
    "merges repetitions": ([10, 1, 1, 10, 9, 9, 10], [1, 9, -1, -1, -1, -1]),
    "a blank divides equal digits": ([1, 10, 1, 1, 10, 10, 7], [1, 1, 7, -1, -1, -1]),
    "no blanks": ([1, 2, 3, 4, 5, 6, 6], [1, 2, 3, 4, 5, 6]),
    "nothing": ([10] * 7, [-1] * 6),
    "zero is a digit": ([0, 10, 0, 10, 10, 10, 10], [0, 0, -1, -1, -1, -1]),
}


@pytest.mark.parametrize("decode", DECODERS.values(), ids=DECODERS)
def test_by_hand(decode) -> None:
    logits = np.stack([shown(path) for path, _ in PATHS.values()])
    digits, log_probability = decode(logits)
    np.testing.assert_array_equal(digits, [expected for _, expected in PATHS.values()])
    assert digits.dtype == tf.int32
    np.testing.assert_allclose(log_probability, 0, atol=1e-5)


@pytest.mark.parametrize("decode", DECODERS.values(), ids=DECODERS)
def test_more_digits_than_a_number_has(decode) -> None:
    digits, log_probability = decode(shown([1, 2, 3, 4, 5, 6, 7])[None])
    assert digits.shape == (1, 6)
    assert log_probability[0] < -10  # no number of six digits is likely


def test_greedy_cuts_on_the_right() -> None:
    digits, _ = decode_greedily(shown([1, 2, 3, 4, 5, 6, 7])[None])
    np.testing.assert_array_equal(digits, [[1, 2, 3, 4, 5, 6]])


def test_greedy_path_need_not_be_the_best_number() -> None:
    """Blank blank has 0.36, but "0" has three paths: 0.24 + 0.24 + 0.16 (Graves et al., 2006)."""
    logits = np.log(np.array([[[0.4, 0.6], [0.4, 0.6]]], np.float32))
    digits, log_probability = decode_greedily(logits, max_digits=2)
    np.testing.assert_array_equal(digits, [[-1, -1]])
    assert np.exp(log_probability[0]) == pytest.approx(0.36)
    digits, log_probability = decode_by_beam_search(logits, max_digits=2)
    np.testing.assert_array_equal(digits, [[0, -1]])
    assert np.exp(log_probability[0]) == pytest.approx(0.64)


@pytest.mark.parametrize(("num_frames", "num_digits"), [(6, 2), (5, 3), (2, 2), (7, 1)])
def test_beam_search_equals_exhaustive_search(num_frames: int, num_digits: int) -> None:
    logits = random_logits(num_frames, 12, num_frames, num_digits + 1, scale=1.5)
    digits, log_probability = decode_by_beam_search(logits, beam_size=200, max_digits=num_frames)
    for row, found, score in zip(logits, digits.numpy(), log_probability.numpy(), strict=True):
        every = log_probability_of_every_number(row)
        best = max(every, key=lambda number: every[number])
        assert number_of(found) == best
        assert float(score) == pytest.approx(every[best], rel=1e-4, abs=1e-5)


def test_a_search_that_drops_nothing_is_exact() -> None:
    """Not only the best: each number, with the probability of all its alignments."""
    logits = random_logits(9, 3, 5, 3, scale=1.5)
    digits, is_found, scores = search_prefixes(logits, beam_size=80, max_digits=5)
    for i, row in enumerate(logits):
        found = zip(digits.numpy()[i], is_found.numpy()[i], scores.numpy()[i], strict=True)
        numbers = [(number_of(number), float(score)) for number, live, score in found if live]
        every = log_probability_of_every_number(row)
        assert len(numbers) == len(every)  # none twice
        assert dict(numbers) == pytest.approx(every, rel=1e-4, abs=1e-4)


def test_longest_number_is_kept_to() -> None:
    logits = random_logits(8, 20, 6, 3, scale=1.5)
    digits, log_probability = decode_by_beam_search(logits, beam_size=50, max_digits=2)
    cut = 0
    for row, found, score in zip(logits, digits.numpy(), log_probability.numpy(), strict=True):
        every = log_probability_of_every_number(row)
        short = {number: p for number, p in every.items() if len(number) <= 2}
        best = max(short, key=lambda number: short[number])
        cut += len(max(every, key=lambda number: every[number])) > 2
        assert number_of(found) == best
        assert float(score) == pytest.approx(every[best], rel=1e-4, abs=1e-5)
    assert cut  # somewhere the limit mattered


@pytest.mark.parametrize("decode", DECODERS.values(), ids=DECODERS)
def test_score_is_the_exact_log_probability(decode) -> None:
    logits = random_logits(0, 16, 13, 11, scale=2)
    digits, log_probability = decode(logits)
    np.testing.assert_allclose(log_probability, ctc_log_probability(digits, logits), rtol=1e-6)


def test_wider_beams_find_no_worse_numbers() -> None:
    logits = random_logits(1, 64, 13, 11, scale=1.5)
    scores = [decode_greedily(logits)[1].numpy()]
    scores += [decode_by_beam_search(logits, beam_size=size)[1].numpy() for size in (4, 32)]
    means = [score.mean() for score in scores]
    assert means[0] < means[1] <= means[2]


@pytest.mark.parametrize("decode", DECODERS.values(), ids=DECODERS)
def test_rows_do_not_depend_on_their_batch(decode) -> None:
    logits = random_logits(2, 5, 9, 11, scale=2)
    together = decode(logits)
    for i in range(5):
        alone = decode(logits[i : i + 1])
        np.testing.assert_array_equal(alone[0][0], together[0][i])
        np.testing.assert_allclose(alone[1][0], together[1][i], rtol=1e-5)


@pytest.mark.parametrize("decode", DECODERS.values(), ids=DECODERS)
def test_graph_and_xla_equal_eager(decode) -> None:
    logits = tf.constant(random_logits(3, 4, 7, 4, scale=2))
    expected = decode(logits)
    for jit in (False, True):
        digits, log_probability = tf.function(decode, jit_compile=jit)(logits)
        np.testing.assert_array_equal(digits, expected[0])
        np.testing.assert_allclose(log_probability, expected[1], rtol=1e-5)


@pytest.mark.parametrize("decode", DECODERS.values(), ids=DECODERS)
def test_in_a_saved_model_with_any_batch_size(decode, tmp_path: Path) -> None:
    module = tf.Module()
    module.decode = tf.function(decode, input_signature=[tf.TensorSpec([None, 7, 4])])
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    for batch in (3, 1, 0):
        logits = random_logits(4, batch, 7, 4)
        digits, log_probability = loaded.decode(tf.constant(logits))
        assert digits.shape == (batch, 6) and log_probability.shape == (batch,)
        if batch:
            np.testing.assert_array_equal(digits, decode(logits)[0])


def test_mistakes_are_refused() -> None:
    logits = np.zeros((1, 4, 11), np.float32)
    with pytest.raises(ValueError, match="beam_size must be at least 1, got 0"):
        decode_by_beam_search(logits, beam_size=0)
    with pytest.raises(ValueError, match="max_digits=10"):
        decode_by_beam_search(logits, max_digits=10)

"""Times things fairly: in turn, in one process, so that a machine that slows down slows all."""

import statistics
import time
from collections.abc import Callable, Mapping

import tensorflow as tf


def measure_in_turn(
    cases: Mapping[str, Callable[[], float]], *, rounds: int = 5
) -> dict[str, list[float]]:
    """Runs every case once a round, after one round that does not count.

    Args:
      cases: name to a function that does a fixed amount of work and returns how much it was.
      rounds: counted rounds.

    Returns:
      for each case its speed in each round, in work a second.
    """
    speeds: dict[str, list[float]] = {name: [] for name in cases}
    for round_number in range(rounds + 1):
        for name, run in cases.items():
            started = time.perf_counter()
            work = run()
            speed = work / (time.perf_counter() - started)
            if round_number:  # the first round compiles and warms caches
                speeds[name].append(speed)
    return speeds


def median_ratio(speeds: Mapping[str, list[float]], first: str, second: str) -> float:
    """Returns the median over the rounds of the ratio of two cases' speeds.

    >>> median_ratio({"ours": [2.0, 9.0, 4.0], "theirs": [1.0, 3.0, 2.0]}, "ours", "theirs")
    2.0
    """
    pairs = zip(speeds[first], speeds[second], strict=True)
    return statistics.median(ours / theirs for ours, theirs in pairs)


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns a data set without tf.data's tuning thread, for timing ``model.fit``.

    The thread may hold ``fit`` up when it lets go of its iterator, for as long again as it has
    lived (measured, TensorFlow 2.21): that is not what a benchmark of the loop is about.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def matrix_product(size: int = 1024, repeats: int = 8) -> Callable[[], float]:
    """Returns a case that multiplies float32 matrices and counts floating-point operations.

    Its speed is what this machine can do at best; a model's share of it says how well the
    hardware is used.
    """
    left, right = tf.random.normal([size, size]), tf.random.normal([size, size])

    def run() -> float:
        for _ in range(repeats):
            product = tf.linalg.matmul(left, right)
        product.numpy()  # wait for it
        return 2.0 * size**3 * repeats

    return run

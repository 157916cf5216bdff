"""Losses: values by hand, NumPy and scikit-learn as references, stability, and what is refused."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from tfcamp.losses import (
    WeightedSum,
    binary_cross_entropy,
    binary_focal_cross_entropy,
    cross_entropy,
    focal_cross_entropy,
)


def softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(-1, keepdims=True))
    return exponents / exponents.sum(-1, keepdims=True)


def numpy_focal(labels, logits, gamma, class_weights, label_smoothing, weights) -> float:
    """The documented equation in float64, one example and one class at a time."""
    probabilities = softmax(np.asarray(logits, np.float64))
    num_classes = probabilities.shape[-1]
    total = 0.0
    for y, p, w in zip(labels, probabilities, weights, strict=True):
        if np.ndim(y) == 0:
            y = np.eye(num_classes)[y]
        for c in range(num_classes):
            q = (1 - label_smoothing) * y[c] + label_smoothing / num_classes
            total -= w * class_weights[c] * q * (1 - p[c]) ** gamma * math.log(p[c])
    return total


def test_cross_entropy_by_hand() -> None:
    # softmax([ln 1, ln 3]) = [1/4, 3/4]
    total, weight = cross_entropy([0, 1], [[0.0, math.log(3)], [0.0, math.log(3)]])
    assert float(total) == pytest.approx(math.log(4) + math.log(4 / 3))
    assert float(weight) == 2


def test_focal_by_hand() -> None:
    # p = 3/4: (1/4)^2 ln(4/3); p = 1/4: (3/4)^2 ln 4
    loss = focal_cross_entropy([1, 0], [[0.0, math.log(3)]] * 2)
    assert float(loss.total) == pytest.approx(math.log(4 / 3) / 16 + 9 * math.log(4) / 16)


def test_smoothing_by_hand() -> None:
    # e = 0.2 of two classes: q = [0.9, 0.1]
    loss = cross_entropy([0], [[0.0, math.log(3)]], label_smoothing=0.2)
    assert float(loss.mean()) == pytest.approx(0.9 * math.log(4) + 0.1 * math.log(4 / 3))


def test_binary_by_hand() -> None:
    # sigmoid(ln 3) = 3/4
    loss = binary_focal_cross_entropy([1, 0], [math.log(3)] * 2, gamma=1.0, alpha=0.25)
    expected = 0.25 * 0.25 * math.log(4 / 3) + 0.75 * 0.75 * math.log(4)
    assert float(loss.total) == pytest.approx(expected)
    smoothed = binary_cross_entropy([1], [math.log(3)], label_smoothing=0.2)
    assert float(smoothed.mean()) == pytest.approx(0.9 * math.log(4 / 3) + 0.1 * math.log(4))


def test_softmax_twice_is_visible() -> None:
    """A perfect prediction costs nothing; the course's softmax before the loss shows at once."""
    perfect = 50 * tf.one_hot([3], 10)
    assert float(cross_entropy([3], perfect).mean()) < 1e-6
    assert float(cross_entropy([3], tf.nn.softmax(perfect)).mean()) > 1.4
    assert float(focal_cross_entropy([3], tf.nn.softmax(perfect)).mean()) > 0.8


def test_cross_entropy_equals_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, 5, 40), rng.normal(size=(40, 5)).astype(np.float32)
    weights = rng.uniform(0, 2, 40).astype(np.float32)
    expected = log_loss(labels, softmax(logits), sample_weight=weights, labels=range(5))
    assert float(cross_entropy(labels, logits, weights=weights).mean()) == pytest.approx(
        expected, rel=1e-5
    )


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_equals_numpy(gamma: float, soft: bool) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(scale=3, size=(30, 4)).astype(np.float32)
    labels = softmax(rng.normal(size=(30, 4))) if soft else rng.integers(0, 4, 30)
    class_weights, weights = rng.uniform(0.5, 3, 4), rng.uniform(0, 2, 30)
    loss = focal_cross_entropy(
        labels,
        logits,
        gamma=gamma,
        class_weights=class_weights,
        label_smoothing=0.1,
        weights=weights,
    )
    expected = numpy_focal(labels, logits, gamma, class_weights, 0.1, weights)
    assert float(loss.total) == pytest.approx(expected, rel=1e-5)
    assert float(loss.weight) == pytest.approx(weights.sum(), rel=1e-6)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("scale", [0.1, 5.0, 100.0])
@pytest.mark.parametrize("num_classes", [2, 5000])
def test_class_ids_equal_their_distributions(
    num_classes: int, scale: float, label_smoothing: float
) -> None:
    """Ids have a way of their own, which writes down no distributions; its gradient, too."""
    rng = np.random.default_rng(2)
    logits = tf.constant(rng.normal(scale=scale, size=(4, 3, num_classes)), tf.float32)
    labels, weights = rng.integers(0, num_classes, (4, 3)), rng.uniform(0, 2, (4, 3))
    results = []
    for labels_as in (labels, np.eye(num_classes)[labels]):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = cross_entropy(
                labels_as, logits, label_smoothing=label_smoothing, weights=weights
            ).total
        results.append((float(loss), tape.gradient(loss, logits)))
    (ours, our_gradient), (expected, gradient) = results
    assert ours == pytest.approx(expected, rel=2e-6)
    np.testing.assert_allclose(our_gradient, gradient, atol=2e-5)
    exact = np.asarray(logits, np.float64)
    log_p = exact - exact.max(-1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(-1, keepdims=True))
    q = (1 - label_smoothing) * np.eye(num_classes)[labels] + label_smoothing / num_classes
    assert ours == pytest.approx(-(weights[..., None] * q * log_p).sum(), rel=1e-6)
    np.testing.assert_allclose(our_gradient, weights[..., None] * (np.exp(log_p) - q), atol=1e-6)


def test_gamma_zero_is_cross_entropy() -> None:
    labels, logits = [0, 2], [[1.0, -2.0, 0.5], [0.3, 0.2, -1.0]]
    focal = focal_cross_entropy(labels, logits, gamma=0.0)
    assert float(focal.total) == float(cross_entropy(labels, logits).total)
    binary = binary_focal_cross_entropy([0, 1], [0.3, -2.0], gamma=0.0)
    assert float(binary.total) == float(binary_cross_entropy([0, 1], [0.3, -2.0]).total)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-30, 30), st.booleans()), min_size=1, max_size=8))
def test_two_classes_equal_the_binary_loss(rows: list[tuple[float, bool]]) -> None:
    """softmax([0, z]) is sigmoid(z), for the focal loss too."""
    logits = np.array([z for z, _ in rows], np.float32)
    labels = np.array([y for _, y in rows], np.int32)
    binary = binary_focal_cross_entropy(labels, logits, gamma=1.5)
    multi = focal_cross_entropy(labels, np.stack([0 * logits, logits], -1), gamma=1.5)
    assert float(multi.total) == pytest.approx(float(binary.total), rel=1e-4, abs=1e-6)


@settings(deadline=None)
@given(st.integers(1, 7), st.integers(0, 2**16))
def test_sums_of_parts_are_the_sum_of_the_whole(cut: int, seed: int) -> None:
    """Ragged batches and replicas change nothing: totals and weights just add up."""
    rng = np.random.default_rng(seed)
    labels, weights = rng.integers(0, 3, 8), rng.uniform(0, 1, 8).astype(np.float32)
    logits = rng.normal(size=(8, 3)).astype(np.float32)
    options = {"class_weights": [1.0, 2.0, 5.0], "gamma": 2.0}
    whole = focal_cross_entropy(labels, logits, weights=weights, **options)
    left = focal_cross_entropy(labels[:cut], logits[:cut], weights=weights[:cut], **options)
    right = focal_cross_entropy(labels[cut:], logits[cut:], weights=weights[cut:], **options)
    assert float(left.total + right.total) == pytest.approx(float(whole.total), rel=1e-5)
    assert float(left.weight + right.weight) == pytest.approx(float(whole.weight), rel=1e-5)


def test_class_weights_do_not_enter_the_weight() -> None:
    loss = cross_entropy([1, 1], [[0.0, 0.0]] * 2, class_weights=[1.0, 5.0])
    assert float(loss.weight) == 2
    assert float(loss.mean()) == pytest.approx(5 * math.log(2))


def test_rows_of_weight_zero_cannot_be_felt() -> None:
    logits = tf.constant([[1.0, 2.0], [3.0, -1.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = cross_entropy([1, -1], logits, weights=[1.0, 0.0])
    assert float(loss.total) == float(cross_entropy([1], logits[:1]).total)
    gradient = tf.convert_to_tensor(tape.gradient(loss.total, logits))
    np.testing.assert_array_equal(gradient[1], [0.0, 0.0])


def test_unknown_class_id_is_not_silent() -> None:
    assert math.isnan(float(cross_entropy([2], [[0.0, 0.0]]).total))
    assert math.isnan(float(focal_cross_entropy([-1], [[0.0, 0.0]]).total))


def test_mean_of_nothing_is_zero() -> None:
    assert float(WeightedSum(tf.constant(0.0), tf.constant(0.0)).mean()) == 0.0


def test_several_positions_a_row() -> None:
    """Labels may have more axes: a sequence is the same loss as its positions one by one."""
    rng = np.random.default_rng(2)
    labels, logits = rng.integers(0, 3, (2, 4)), rng.normal(size=(2, 4, 3)).astype(np.float32)
    loss = focal_cross_entropy(labels, logits, weights=np.ones((2, 4)))
    flat = focal_cross_entropy(labels.ravel(), logits.reshape(8, 3))
    assert float(loss.total) == pytest.approx(float(flat.total), rel=1e-6)
    assert float(loss.weight) == 8


LOSSES = {
    "cross_entropy": lambda z: cross_entropy([0, 1], z, label_smoothing=0.1),
    "soft": lambda z: cross_entropy([[0.2, 0.8, 0.0], [0.0, 0.0, 1.0]], z),
    "focal": lambda z: focal_cross_entropy([0, 1], z, gamma=0.5),
    "focal_soft": lambda z: focal_cross_entropy([[0.2, 0.8, 0.0], [0.0, 0.0, 1.0]], z),
    "binary": lambda z: binary_cross_entropy([[0, 1, 1], [1, 0, 0]], z),
    "binary_focal": lambda z: binary_focal_cross_entropy([[0, 1, 1], [1, 0, 0]], z, gamma=0.5),
}
EXTREME = [[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]]


@pytest.mark.parametrize("name", LOSSES)
def test_finite_at_huge_logits(name: str) -> None:
    for values in (EXTREME, np.negative(EXTREME), np.zeros((2, 3)), np.eye(2, 3) * 40):
        logits = tf.constant(values, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = LOSSES[name](logits).mean()
        gradient = tf.convert_to_tensor(tape.gradient(loss, logits))
        assert np.isfinite(loss.numpy()) and np.isfinite(gradient.numpy()).all()


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_equals_finite_differences(name: str) -> None:
    logits = tf.constant([[0.5, -1.0, 2.0], [1.0, 0.3, -0.2]])
    _, (numeric,) = tf.test.compute_gradient(lambda z: LOSSES[name](z).total, [logits], delta=1e-2)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        total = LOSSES[name](logits).total
    analytic = tf.reshape(tf.convert_to_tensor(tape.gradient(total, logits)), [1, -1])
    np.testing.assert_allclose(analytic, numeric, atol=2e-3)


@pytest.mark.parametrize("name", LOSSES)
def test_graph_and_xla_equal_eager(name: str) -> None:
    logits = tf.constant([[0.5, -1.0, 2.0], [1.0, 0.3, -0.2]])
    eager = LOSSES[name](logits)
    for jit in (False, True):
        compiled = tf.function(LOSSES[name], jit_compile=jit)(logits)
        np.testing.assert_allclose(compiled, eager, rtol=1e-6)


def test_unknown_static_shapes() -> None:
    """A graph whose batch and class sizes are known only when it runs."""

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, None], tf.float32)]
    )
    def loss(labels: tf.Tensor, logits: tf.Tensor) -> WeightedSum:
        return focal_cross_entropy(labels, logits, label_smoothing=0.1)

    expected = focal_cross_entropy([1], [[0.0, 1.0]], label_smoothing=0.1)
    np.testing.assert_allclose(
        loss(tf.constant([1], tf.int64), tf.constant([[0.0, 1.0]])), expected, rtol=1e-6
    )


def test_bfloat16_logits_are_computed_in_float32() -> None:
    logits = tf.constant([[0.5, -1.0, 2.0]], tf.bfloat16)
    loss = focal_cross_entropy([0], logits)
    assert loss.total.dtype == loss.weight.dtype == tf.float32
    exact = focal_cross_entropy([0], tf.cast(logits, tf.float32))
    assert float(loss.total) == float(exact.total)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: focal_cross_entropy([0], [[0.0, 0.0]], gamma=-1.0), "gamma .* -1.0"),
        (lambda: focal_cross_entropy([0], [[0.0, 0.0]], gamma=math.nan), "gamma"),
        (lambda: cross_entropy([0], [[0.0, 0.0]], label_smoothing=1.0), "label_smoothing"),
        (lambda: cross_entropy([0, 1], [[0.0, 0.0]]), r"class ids .*\(1,\).*\(2,\)"),
        (lambda: cross_entropy([[1.0]], [[0.0, 0.0]]), "label probabilities"),
        (lambda: cross_entropy([0], [[0.0, 0.0]], class_weights=[1.0]), "class_weights"),
        (lambda: cross_entropy([0], [[0.0, 0.0]], weights=[1.0, 1.0]), "weights"),
        (lambda: cross_entropy(0, 1.0), "last axis of classes"),
        (lambda: binary_cross_entropy([[1]], [1.0]), "labels"),
        (lambda: binary_cross_entropy([1], [1.0], alpha=1.5), "alpha .* 1.5"),
        (lambda: binary_focal_cross_entropy([1], [1.0], gamma=-0.5), "gamma"),
    ],
)
def test_mistakes_are_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()

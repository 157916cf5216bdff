"""Losses of numbers: by hand, CTC against every alignment, and what must not be felt."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from tfcamp.losses import cross_entropy, ctc_log_probability, ctc_loss, number_loss


def log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = logits.astype(np.float64)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def log_probability_of_every_number(logits: np.ndarray) -> dict[tuple[int, ...], float]:
    """Sums over every path of a row of logits [T, C + 1], by the number that it spells."""
    frames = log_softmax(logits)
    blank = frames.shape[-1] - 1
    sums: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(blank + 1), repeat=len(frames)):
        number = tuple(symbol for symbol, _ in itertools.groupby(path) if symbol != blank)
        probability = math.exp(sum(frame[s] for frame, s in zip(frames, path, strict=True)))
        sums[number] = sums.get(number, 0.0) + probability
    return {number: math.log(probability) for number, probability in sums.items()}


def rows(numbers: list[tuple[int, ...]], width: int) -> np.ndarray:
    return np.array([[*number, *[-1] * (width - len(number))] for number in numbers], np.int32)


def random_numbers_and_outputs(seed: int, batch: int = 5, places: int = 4, digits: int = 3):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, places + 1, batch)
    labels = rng.integers(0, digits, (batch, places))
    labels = np.where(np.arange(places) < lengths[:, None], labels, -1).astype(np.int32)
    outputs = {
        "length": rng.normal(size=(batch, places)).astype(np.float32),
        "digits": rng.normal(size=(batch, places, digits)).astype(np.float32),
    }
    return labels, outputs


def test_number_loss_by_hand() -> None:
    # p(length 2) = 3/4; p(digit 1) = 3/4 at the first place and 1/4 at the second.
    third = math.log(3)
    outputs = {"length": [[0.0, third]], "digits": [[[0.0, third], [third, 0.0]]]}
    loss = number_loss([[1, 1]], outputs)
    assert float(loss.total) == pytest.approx(-math.log(3 / 4 * 3 / 4 * 1 / 4))
    assert float(loss.weight) == 1
    # Of the number "1" the second place says nothing.
    assert float(number_loss([[1, -1]], outputs).total) == pytest.approx(-math.log(1 / 4 * 3 / 4))


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_number_loss_is_the_sum_of_its_parts(gamma: float) -> None:
    labels, outputs = random_numbers_and_outputs(0)
    weights = np.array([1.0, 2.0, 0.0, 0.5, 1.0], np.float32)
    total = 0.0
    for label, length, digits, weight in zip(
        labels, outputs["length"], outputs["digits"], weights, strict=True
    ):
        n = int((label >= 0).sum())
        rows_of_logits = [(length, n - 1), *zip(digits[:n], label[:n], strict=True)]
        for logits, answer in rows_of_logits:
            log_p = log_softmax(logits)
            q = 0.9 * np.eye(len(logits))[answer] + 0.1 / len(logits)
            total -= weight * (q * (1 - np.exp(log_p)) ** gamma * log_p).sum()
    loss = number_loss(labels, outputs, label_smoothing=0.1, gamma=gamma, weights=weights)
    assert float(loss.total) == pytest.approx(total, rel=1e-5)
    assert float(loss.weight) == 4.5


def test_number_loss_ignores_digits_beyond_the_length() -> None:
    labels, outputs = random_numbers_and_outputs(1)
    beyond = labels == -1
    changed = {**outputs, "digits": np.where(beyond[..., None], 7.0, outputs["digits"])}
    assert beyond.any()
    options = {"label_smoothing": 0.1, "gamma": 1.0}
    expected = number_loss(labels, outputs, **options).total
    assert float(number_loss(labels, changed, **options).total) == float(expected)

    digits = tf.constant(outputs["digits"])
    with tf.GradientTape() as tape:
        tape.watch(digits)
        total = number_loss(labels, {**outputs, "digits": digits}, **options).total
    gradient = tape.gradient(total, digits).numpy()
    assert not gradient[beyond].any() and gradient[~beyond].all()


def test_number_loss_of_one_place_is_cross_entropy() -> None:
    labels, outputs = np.array([[1], [0]]), {"length": [[3.0], [1.0]], "digits": np.eye(2)[:, None]}
    expected = cross_entropy(labels[:, 0], np.eye(2))
    assert float(number_loss(labels, outputs).mean()) == pytest.approx(float(expected.mean()))


@pytest.mark.parametrize("malformed", [[-1, -1, -1], [1, -1, 1], [1, 3, -1], [-2, -1, -1]])
def test_malformed_numbers_are_not_silent(malformed: list[int]) -> None:
    outputs = {"length": np.zeros((1, 3)), "digits": np.zeros((1, 3, 3))}
    assert math.isnan(float(number_loss([malformed], outputs).total))
    if malformed != [-1, -1, -1]:  # CTC can say nothing at all
        assert math.isnan(float(ctc_loss([malformed], np.zeros((1, 8, 4))).total))


@pytest.mark.parametrize(("num_frames", "num_digits"), [(1, 2), (2, 2), (5, 2), (4, 3), (6, 1)])
def test_ctc_equals_the_sum_over_all_alignments(num_frames: int, num_digits: int) -> None:
    logits = (
        np.random.default_rng(num_frames)
        .normal(scale=2, size=(num_frames, num_digits + 1))
        .astype(np.float32)
    )
    expected = log_probability_of_every_number(logits)
    assert sum(map(math.exp, expected.values())) == pytest.approx(1)
    labels = rows(list(expected), num_frames)
    found = ctc_log_probability(labels, np.repeat(logits[None], len(labels), axis=0))
    np.testing.assert_allclose(found, list(expected.values()), rtol=1e-5, atol=1e-5)


def test_ctc_of_the_empty_number_is_all_blanks() -> None:
    logits = np.random.default_rng(0).normal(size=(1, 4, 3)).astype(np.float32)
    expected = -log_softmax(logits)[0, :, 2].sum()
    assert float(ctc_loss([[-1, -1]], logits).total) == pytest.approx(expected, rel=1e-5)


def test_ctc_of_what_cannot_be_spelt_is_infinite() -> None:
    """Three digits do not fit into two frames, nor do two equal ones, which need a blank."""
    logits = np.zeros((1, 2, 3), np.float32)
    for label in ([0, 1, 0], [0, 0, -1]):
        assert float(ctc_loss([label], logits).total) == math.inf
    assert math.isfinite(float(ctc_loss([[0, 1, -1]], logits).total))


def test_ctc_equals_tensorflow() -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(20, 13, 11)).astype(np.float32)
    lengths = rng.integers(1, 7, 20)
    digits = rng.integers(0, 10, (20, 6))
    labels = np.where(np.arange(6) < lengths[:, None], digits, -1).astype(np.int32)
    theirs = tf.nn.ctc_loss(
        tf.constant(np.maximum(labels, 0)),
        tf.constant(logits),
        tf.constant(lengths, tf.int32),
        tf.fill([20], 13),
        logits_time_major=False,
        blank_index=10,
    )
    np.testing.assert_allclose(-ctc_log_probability(labels, logits), theirs, rtol=1e-5)


@pytest.mark.parametrize("loss", ["number", "ctc", "ctc that is impossible"])
def test_rows_of_weight_zero_cannot_be_felt(loss: str) -> None:
    labels, outputs = random_numbers_and_outputs(4, batch=2)
    if loss == "number":
        labels[1] = [-1, 2, -1, 9]
    elif loss == "ctc":
        labels[1] = 9
    else:
        labels[1] = 1  # four equal digits in five frames
    frames = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)

    def compute(labels, values, weights):
        if loss == "number":
            return number_loss(
                labels,
                {**outputs, "length": outputs["length"][: len(labels)], "digits": values},
                weights=weights,
            )
        return ctc_loss(labels, values, weights=weights)

    values = tf.constant(outputs["digits"] if loss == "number" else frames)
    with tf.GradientTape() as tape:
        tape.watch(values)
        whole = compute(labels, values, [1.0, 0.0])
    gradient = tape.gradient(whole.total, values).numpy()
    alone = compute(labels[:1], values[:1], [1.0])
    assert float(whole.total) == pytest.approx(float(alone.total), rel=1e-6)
    assert math.isfinite(float(alone.total)) and float(whole.weight) == 1
    assert not np.isfinite(float(compute(labels, values, None).total))
    assert np.isfinite(gradient).all() and gradient[0].any() and not gradient[1].any()


def number_case(z: tf.Tensor):
    outputs = {"length": z[:, 0, :2], "digits": z[:, 1:3]}
    return number_loss([[1, 0], [2, -1]], outputs, label_smoothing=0.1, gamma=0.5)


LOSSES = {"number": number_case, "ctc": lambda z: ctc_loss([[1, 1], [0, -1]], z)}


def random_frames() -> tf.Tensor:
    return tf.constant(np.random.default_rng(5).normal(size=(2, 4, 3)).astype(np.float32))


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_equals_finite_differences(name: str) -> None:
    logits = random_frames()
    _, (numeric,) = tf.test.compute_gradient(lambda z: LOSSES[name](z).total, [logits], delta=1e-2)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        total = LOSSES[name](logits).total
    analytic = tf.reshape(tf.convert_to_tensor(tape.gradient(total, logits)), [1, -1])
    np.testing.assert_allclose(analytic, numeric, atol=2e-3)


@pytest.mark.parametrize("name", LOSSES)
def test_finite_at_huge_logits(name: str) -> None:
    for scale in (0.0, 1e4, -1e4):
        logits = scale * tf.sign(random_frames())
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = LOSSES[name](logits).mean()
        gradient = tf.convert_to_tensor(tape.gradient(loss, logits))
        assert np.isfinite(loss) and np.isfinite(gradient).all()


@pytest.mark.parametrize("name", LOSSES)
def test_graph_and_xla_equal_eager(name: str) -> None:
    def loss_and_gradient(logits: tf.Tensor):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = LOSSES[name](logits)
        return *loss, tf.convert_to_tensor(tape.gradient(loss.total, logits))

    eager = loss_and_gradient(random_frames())
    for jit in (False, True):
        compiled = tf.function(loss_and_gradient, jit_compile=jit)(random_frames())
        for ours, expected in zip(compiled, eager, strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_bfloat16_logits_are_computed_in_float32(name: str) -> None:
    logits = tf.cast(random_frames(), tf.bfloat16)
    loss = LOSSES[name](logits)
    assert loss.total.dtype == tf.float32
    assert float(loss.total) == float(LOSSES[name](tf.cast(logits, tf.float32)).total)


def test_unknown_batch_size() -> None:
    signature = [tf.TensorSpec([None, 2], tf.int32), tf.TensorSpec([None, 4, 3])]
    compiled = tf.function(ctc_loss, input_signature=signature)
    labels = tf.constant([[1, 1], [0, -1]])
    expected = ctc_loss(labels, random_frames())
    np.testing.assert_allclose(compiled(labels, random_frames()), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ctc_loss([0], np.zeros((1, 2, 3))), r"\[B, N\] .* \(1,\)"),
        (lambda: ctc_loss([[0]], np.zeros((2, 2, 3))), "labels must have shape"),
        (lambda: ctc_loss([[0]], np.zeros((1, 0, 3))), "T >= 1"),
        (lambda: ctc_loss([[0]], np.zeros((1, 2, 3)), weights=[[1.0]]), "weights"),
        (lambda: number_loss([[0]], {"length": [[0.0]], "digits": [[0.0]]}), "class ids"),
        (
            lambda: number_loss([[0]], {"length": [[0.0]], "digits": [[[0.0]]]}, gamma=-1.0),
            "gamma",
        ),
    ],
)
def test_mistakes_are_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()

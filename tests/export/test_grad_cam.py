"""Class-activation maps: the gradient against finite differences, by hand, and when exported."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.catalogue import tiny_image_config, tiny_reader_config
from tfcamp.decoding.ctc import decode_greedily
from tfcamp.decoding.numbers import decode_numbers
from tfcamp.export.grad_cam import grad_cam, split_at_features
from tfcamp.models.image_classifier import build_image_classifier
from tfcamp.models.number_reader import build_number_reader


def random_images(*shape: int) -> tf.Tensor:
    images = np.random.default_rng(0).uniform(size=(*shape, 3))
    return tf.constant(images.astype(np.float32))


def first_class(logits: tf.Tensor) -> tf.Tensor:
    return logits[:, 0]


def test_by_hand() -> None:
    """Two maps: the first speaks for the score with 3, the second against it with -1."""
    maps = tf.constant([[[[1.0, 0.0], [2.0, 3.0], [0.0, 9.0]]]])

    def head(features):
        return tf.reduce_sum(features * [3.0, -1.0], axis=(1, 2))

    heat = grad_cam(maps, head, lambda outputs: tf.reduce_sum(outputs, axis=-1))
    np.testing.assert_allclose(heat, [[[3.0, 3.0, 0.0]]], rtol=1e-6)


@pytest.mark.parametrize("frozen", [False, True])
def test_equals_finite_differences(frozen: bool) -> None:
    """Each weight w_k is the mean slope of the score along the places of the map k."""
    keras.utils.set_random_seed(0)
    model = build_image_classifier("vgg", tiny_image_config(activation="swish"))
    model.trainable = not frozen
    trunk, head = split_at_features(model)
    features = trunk(random_images(2, 16, 16)).numpy()
    # Moving a whole map k by a small step at all places sums their slopes up.
    places, step = features.shape[1] * features.shape[2], 0.05
    weights = np.zeros((2, features.shape[-1]))
    for k in range(features.shape[-1]):
        for sign in (1, -1):
            moved = features.copy()
            moved[..., k] += sign * step
            weights[:, k] += sign * first_class(head(moved)).numpy() / (2 * step * places)
    expected = np.maximum((weights[:, None, None] * features).sum(-1), 0)
    heat = grad_cam(features, head, first_class)
    assert heat.dtype == tf.float32 and heat.shape == expected.shape and expected.max() > 0
    np.testing.assert_allclose(heat, expected, atol=1e-2 * expected.max())


def test_trunk_and_head_are_the_model() -> None:
    keras.utils.set_random_seed(0)
    model = build_number_reader("multihead", tiny_reader_config())
    trunk, head = split_at_features(model)
    images = random_images(2, 16, 32)
    parts, whole = head(trunk(images)), model(images)
    for name, logits in whole.items():
        np.testing.assert_array_equal(parts[name], logits)


def test_rows_do_not_depend_on_their_batch() -> None:
    keras.utils.set_random_seed(0)
    trunk, head = split_at_features(build_image_classifier("resnet", tiny_image_config()))
    features = trunk(random_images(3, 16, 16))
    together = grad_cam(features, head, first_class)
    alone = grad_cam(features[1:2], head, first_class)
    np.testing.assert_allclose(together[1:2], alone, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("reader", "decode"), [("multihead", decode_numbers), ("ctc", decode_greedily)]
)
def test_in_an_exported_signature(reader: str, decode, tmp_path: Path) -> None:
    """The score is the log-probability of the number that was read."""
    keras.utils.set_random_seed(0)
    trunk, head = split_at_features(build_number_reader(reader, tiny_reader_config()))

    @tf.function(input_signature=[tf.TensorSpec([None, 16, 32, 3], name="image")])
    def heatmap(image):
        return {"heatmap": grad_cam(trunk(image), head, lambda outputs: decode(outputs)[1])}

    module = tf.Module()
    module.models = [trunk, head]
    tf.saved_model.save(module, str(tmp_path), signatures={"heatmap": heatmap})
    loaded = tf.saved_model.load(str(tmp_path))
    images = random_images(2, 16, 32)
    found = loaded.signatures["heatmap"](image=images)["heatmap"]
    assert np.isfinite(found).all() and found.numpy().max() > 0
    np.testing.assert_allclose(found, heatmap(images)["heatmap"], rtol=1e-5)


def test_a_model_without_maps_is_refused() -> None:
    with pytest.raises(ValueError, match="'mlp' has no layer 'features'"):
        split_at_features(build_image_classifier("mlp", tiny_image_config()))

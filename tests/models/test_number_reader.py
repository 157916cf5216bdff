"""Number readers: outputs, any trunk under any reader, and what is refused."""

import keras
import numpy as np
import pytest

from tests.models.catalogue import images, tiny_reader_config
from tfcamp.models import image_classifier
from tfcamp.models.number_reader import (
    BUILDERS,
    NumberReaderConfig,
    PlaceTable,
    build_number_reader,
)
from tfcamp.models.trunks import PRETRAINED, trunk_of
from tfcamp.vision.digits import MAX_DIGITS

TRUNKS = [name for name in image_classifier.BUILDERS if name != "mlp"] + list(PRETRAINED)


@pytest.mark.parametrize("trunk", TRUNKS)
@pytest.mark.parametrize("reader", BUILDERS)
def test_any_trunk_serves_any_reader(reader: str, trunk: str) -> None:
    wide = {"width": 112} if trunk in PRETRAINED else {"max_width_stride": 1}
    model = build_number_reader(reader, tiny_reader_config(trunk=trunk, **wide))
    assert trunk_of(model).output.shape[-1] > 0
    if reader == "multihead":
        shapes = {name: logits.shape for name, logits in model.output.items()}
        assert shapes == {"length": (None, MAX_DIGITS), "digits": (None, MAX_DIGITS, 10)}
    else:
        assert model.output.shape[1] >= 2 * MAX_DIGITS + 1 and model.output.shape[2] == 11


def test_digits_share_one_classifier() -> None:
    model = build_number_reader("multihead", tiny_reader_config(head_width=16))
    assert model.get_layer("digits").kernel.shape == (16, 10)


def test_attention_is_over_the_places() -> None:
    model = build_number_reader("multihead", tiny_reader_config())
    attention = keras.Model(model.input, model.get_layer("attention").output)(images(16, 32))
    height, width = trunk_of(model).output.shape[1:3]
    assert attention.shape == (4, height * width, MAX_DIGITS)
    np.testing.assert_allclose(np.sum(attention, axis=1), 1, rtol=1e-5)


def test_frames_of_ctc_go_from_left_to_right() -> None:
    """What changes at the right end of the image changes nothing in the left half of the maps."""
    model = build_number_reader("ctc", tiny_reader_config(trunk="vgg"))
    frames = keras.Model(model.input, model.get_layer("frames").output)
    image = images(16, 32)[:1]
    changed = image.copy()
    changed[:, :, -2:] = 1 - changed[:, :, -2:]
    difference = np.abs(frames(changed) - frames(image)).sum((0, 2))
    assert not difference[:8].any() and difference[-1] > 0


def test_default_sizes() -> None:
    for reader, columns in (("multihead", 12), ("ctc", 24)):
        model = build_number_reader(reader, NumberReaderConfig())
        assert trunk_of(model).output.shape == (None, 6, columns, 128)


def test_place_table_begins_with_row_and_column_and_is_learned() -> None:
    """Each place begins different from all others: half the width says its row, half its column."""
    inputs = np.random.default_rng(0).normal(size=(2, 6, 6)).astype(np.float32)
    layer = PlaceTable(height=2, width=3)
    added = (layer(inputs) - inputs).numpy()[0]
    np.testing.assert_allclose(added[:, :2], np.repeat([[0, 1], [0.8415, 0.5403]], 3, 0), atol=1e-4)
    columns = [[0, 1], [0.8415, 0.5403], [0.9093, -0.4161]]
    np.testing.assert_allclose(added[:, 4:6], np.tile(columns, (2, 1)), atol=1e-4)
    layer.table.assign(np.arange(36.0).reshape(6, 6))
    np.testing.assert_allclose(layer(inputs)[1, 4], inputs[1, 4] + np.arange(24, 30), rtol=1e-6)


@pytest.mark.parametrize("depth", [4, 6, 7])
def test_places_have_vectors_of_any_width(depth: int) -> None:
    assert PlaceTable(2, 3)(np.zeros((1, 6, depth), np.float32)).shape == (1, 6, depth)


def test_ctc_needs_columns() -> None:
    with pytest.raises(ValueError, match="13 columns for 6 digits, got 8"):
        build_number_reader("ctc", tiny_reader_config(max_width_stride=4))


def test_mistakes_are_refused() -> None:
    with pytest.raises(ValueError, match="multihead, ctc, got 'crnn'"):
        build_number_reader("crnn", tiny_reader_config())
    with pytest.raises(ValueError, match="'mlp' has no layer"):
        build_number_reader("multihead", tiny_reader_config(trunk="mlp"))
    with pytest.raises(ValueError, match="head_width"):
        NumberReaderConfig(head_width=0)
    with pytest.raises(ValueError, match="dropout"):
        NumberReaderConfig(dropout=-0.1)

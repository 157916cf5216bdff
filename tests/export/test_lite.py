"""LiteRT files of an exported reader: the same pictures in, the same numbers out."""

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.catalogue import tiny_image_config, tiny_reader_config
from tfcamp.data.image_sources import rendered_split
from tfcamp.decoding.ctc import decode_by_beam_search
from tfcamp.decoding.numbers import decode_numbers
from tfcamp.decoding.single_digits import decode_single_digits
from tfcamp.errors import UserError
from tfcamp.export.image_model import export_image_model, load_image_model
from tfcamp.export.lite import ImageNetwork, LiteImageModel, load_image_network
from tfcamp.models.image_classifier import build_image_classifier
from tfcamp.models.number_reader import build_number_reader

IMAGES = [row.image for row in rendered_split("test", 24)]


class Converted(NamedTuple):
    folder: Path
    network: ImageNetwork
    float32: bytes
    int8: bytes

    def signature(self, images: list[bytes]) -> dict[str, np.ndarray]:
        """What the SavedModel's network says."""
        pixels, _ = LiteImageModel(self.float32).pixels(images)
        logits = tf.saved_model.load(str(self.folder)).signatures["logits"]
        return {name: value.numpy() for name, value in logits(pixels=pixels).items()}


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """A reader whose weights are chance's, so that it answers all sorts of things."""
    keras.utils.set_random_seed(3)
    model = build_number_reader("multihead", tiny_reader_config())
    for name in ("length", "digits"):
        model.get_layer(name).kernel.assign(model.get_layer(name).kernel * 5)
    folder = tmp_path_factory.mktemp("lite") / "saved_model"
    export_image_model(folder, model, decode_numbers)
    network = load_image_network(folder)
    return Converted(folder, network, network.to_float32(), network.to_int8(IMAGES))


def details(content: bytes) -> dict[str, Any]:
    model = LiteImageModel(content)
    inputs, outputs = model._run.get_input_details(), model._run.get_output_details()
    return {
        name: (tuple(tensor["shape"]), np.dtype(tensor["dtype"]))
        for name, tensor in {**inputs, **outputs}.items()
    }


def share_of_floats(content: bytes) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the interpreter is deprecated
        interpreter = tf.lite.Interpreter(model_content=content)
    return float(
        np.mean([tensor["dtype"] is np.float32 for tensor in interpreter.get_tensor_details()])
    )


@pytest.mark.slow
class TestConverted:
    def test_both_have_one_contract(self, converted: Converted) -> None:
        float32 = np.dtype(np.float32)
        assert details(converted.float32) == {
            "pixels": ((1, 16, 32, 3), float32),
            "length": ((1, 6), float32),
            "digits": ((1, 6, 10), float32),
        }
        assert details(converted.int8) == details(converted.float32)

    def test_float32_computes_what_the_saved_model_computes(self, converted: Converted) -> None:
        model = LiteImageModel(converted.float32)
        logits, expected = model.logits(model.pixels(IMAGES)[0]), converted.signature(IMAGES)
        assert logits.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(logits[name], value, atol=1e-4)

    def test_it_reads_what_the_saved_model_reads(self, converted: Converted) -> None:
        """And a broken picture as nothing."""
        images = [*IMAGES, b"", IMAGES[0][:60]]
        expected = load_image_model(converted.folder)(images)
        reading = LiteImageModel(converted.float32)(images)
        assert reading.numbers == expected.numbers
        assert len(set(reading.numbers)) > 2, "a model that says one thing would prove nothing"
        np.testing.assert_allclose(reading.probabilities, expected.probabilities, rtol=1e-3)
        assert reading.numbers[-2:] == ["", ""] and not reading.probabilities[-2:].any()

    def test_int8_computes_nearly_the_same(self, converted: Converted) -> None:
        model = LiteImageModel(converted.int8)
        logits = model.logits(model.pixels(IMAGES)[0])
        for name, value in converted.signature(IMAGES).items():
            assert np.abs(logits[name] - value).mean() < 0.1 * value.std()

    def test_int8_computes_in_8_bits(self, converted: Converted) -> None:
        """Nearly nothing but pixels and logits is float."""
        assert share_of_floats(converted.int8) < 0.15
        assert share_of_floats(converted.float32) > 0.8

    def test_its_scales_come_from_the_images(self, converted: Converted) -> None:
        """Chosen by black pictures, they fit no others."""
        black = tf.io.encode_png(tf.zeros([4, 4, 3], tf.uint8)).numpy()
        model = LiteImageModel(converted.network.to_int8([black, b"broken"]))
        logits = model.logits(model.pixels(IMAGES)[0])
        expected = converted.signature(IMAGES)["digits"]
        assert np.abs(logits["digits"] - expected).mean() > 0.3 * expected.std()

    def test_no_images_to_choose_scales_by(self, converted: Converted) -> None:
        with pytest.raises(ValueError, match="needs images to choose scales by, got 1"):
            converted.network.to_int8([b"broken"])

    def test_calls_that_it_does_not_have(self, converted: Converted) -> None:
        model = LiteImageModel(converted.float32)
        assert model([]).numbers == []
        with pytest.raises(ValueError, match="several_views must be False"):
            model(IMAGES[:1], several_views=True)


@pytest.mark.slow
def test_single_digits(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = build_image_classifier("lenet5", tiny_image_config(num_classes=10))
    model.layers[-1].kernel.assign(model.layers[-1].kernel * 5)
    export_image_model(tmp_path / "digits", model, decode_single_digits)
    network = load_image_network(tmp_path / "digits")
    assert not network.reads_numbers
    reading = LiteImageModel(network.to_float32())([*IMAGES, b""])
    expected = load_image_model(tmp_path / "digits")([*IMAGES, b""])
    assert reading.numbers == expected.numbers and len(set(reading.numbers)) > 2
    np.testing.assert_allclose(reading.probabilities, expected.probabilities, rtol=1e-3)


class TestRefusals:
    @pytest.mark.slow
    def test_ctc(self, tmp_path: Path) -> None:
        model = build_number_reader("ctc", tiny_reader_config())
        export_image_model(tmp_path / "ctc", model, decode_by_beam_search)
        with pytest.raises(UserError, match=r"reads by CTC, .* train with --model multihead"):
            load_image_network(tmp_path / "ctc")

    def test_a_saved_model_of_another_kind(self, tmp_path: Path) -> None:
        tf.saved_model.save(tf.Module(), str(tmp_path))
        with pytest.raises(UserError, match="expected the SavedModel of a reader of numbers"):
            load_image_network(tmp_path)

    def test_no_lite_file(self) -> None:
        with pytest.raises(ValueError, match="not a valid Flatbuffer"):
            LiteImageModel(b"something else than a file")

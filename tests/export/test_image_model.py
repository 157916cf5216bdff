"""The exported reader: files in, numbers out, in TensorFlow alone; a broken file harms nobody."""

import io
import math
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.models.catalogue import tiny_image_config, tiny_reader_config
from tfcamp.data.image_sources import rendered_split
from tfcamp.decoding.ctc import decode_by_beam_search
from tfcamp.decoding.numbers import decode_numbers
from tfcamp.decoding.single_digits import decode_single_digits
from tfcamp.errors import UserError
from tfcamp.export.image_model import (
    NumberService,
    ServedImageModel,
    export_image_model,
    load_image_model,
)
from tfcamp.models.image_classifier import build_image_classifier
from tfcamp.models.number_reader import build_number_reader
from tfcamp.vision.augment import warp
from tfcamp.vision.digits import labels_to_numbers
from tfcamp.vision.images import decode_images

IMAGES = [row.image for row in rendered_split("test", 6)]


def png(image: Image.Image, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def bomb(width: int = 13_000, height: int = 13_000) -> bytes:
    """A small PNG that states a huge size."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checked = name + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    return (
        signature
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


class Exported(NamedTuple):
    folder: Path
    model: keras.Model
    served: ServedImageModel


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A reader whose weights are chance's, so that it answers all sorts of things."""
    keras.utils.set_random_seed(3)
    model = build_number_reader("multihead", tiny_reader_config())
    model.get_layer("length").kernel.assign(model.get_layer("length").kernel * 5)
    model.get_layer("digits").kernel.assign(model.get_layer("digits").kernel * 5)
    folder = tmp_path_factory.mktemp("export") / "saved_model"
    export_image_model(folder, model, decode_numbers)
    return Exported(folder, model, load_image_model(folder))


def test_it_reads_what_the_model_reads(exported: Exported) -> None:
    images = decode_images(tf.constant(IMAGES), 16, 32).images
    digits, log_probability = decode_numbers(exported.model(images))
    numbers, probabilities = exported.served(IMAGES)
    assert numbers == labels_to_numbers(digits)
    assert len(set(numbers)) > 1 and all(numbers)
    np.testing.assert_allclose(probabilities, np.exp(log_probability), rtol=1e-4)


@pytest.mark.parametrize(
    ("output", "decode", "expected"),
    [((10,), decode_single_digits, False), ((4, 11), decode_by_beam_search, True)],
    ids=["one digit", "ctc"],
)
def test_a_model_tells_what_it_reads(tmp_path, exported, output, decode, expected) -> None:
    pixels = keras.Input([4, 8, 3])
    logits = keras.layers.Dense(math.prod(output))(keras.layers.Flatten()(pixels))
    model = keras.Model(pixels, keras.layers.Reshape(output)(logits))
    export_image_model(tmp_path / "saved_model", model, decode)
    assert load_image_model(tmp_path / "saved_model").reads_numbers == expected
    assert exported.served.reads_numbers


BROKEN = {
    "nothing": b"",
    "text": b"no image",
    "truncated": IMAGES[0][: len(IMAGES[0]) // 2],
    "bomb": bomb(),
    "gif": b"GIF89a" + bytes(20),
}


@pytest.mark.parametrize("several_views", [False, True])
def test_a_broken_image_answers_nothing_and_harms_nobody(exported, several_views) -> None:
    alone = exported.served(IMAGES, several_views=several_views)
    mixed = [image for pair in zip(IMAGES, BROKEN.values(), strict=False) for image in pair]
    numbers, probabilities = exported.served(mixed, several_views=several_views)
    assert numbers[1::2] == [""] * len(BROKEN) and not probabilities[1::2].any()
    assert numbers[::2] == alone.numbers[: len(BROKEN)]
    np.testing.assert_allclose(probabilities[::2], alone.probabilities[: len(BROKEN)], rtol=1e-4)


def test_every_kind_of_image_has_an_answer(exported) -> None:
    grey = Image.new("L", (30, 20), 90)
    jpeg = io.BytesIO()
    Image.new("CMYK", (30, 20)).save(jpeg, "JPEG")
    images = {
        "grey": png(grey),
        "16 bits": png(Image.fromarray(np.full((8, 8), 40_000, np.uint16))),
        "RGBA": png(grey.convert("RGBA")),
        "CMYK": jpeg.getvalue(),
        "one pixel": png(Image.new("RGB", (1, 1))),
        "20,000 x 20": png(Image.new("RGB", (20_000, 20))),
    }
    numbers, probabilities = exported.served(list(images.values()))
    assert all(numbers) and (probabilities > 0).all()


def test_no_images_have_no_answers(exported) -> None:
    numbers, probabilities = exported.served([])
    assert numbers == [] and probabilities.shape == (0,)


class TestHeatmap:
    def test_one_map_for_each_image(self, exported) -> None:
        heat = exported.served.heatmaps([*IMAGES, b""])
        maps = exported.model.get_layer("features").output.shape[1:3]
        assert heat.shape == (len(IMAGES) + 1, *maps)
        assert (heat >= 0).all() and heat[:-1].max() > 0
        assert not heat[-1].any()

    def test_a_model_without_maps_has_none(self, tmp_path) -> None:
        keras.utils.set_random_seed(0)
        model = build_image_classifier("mlp", tiny_image_config(num_classes=10))
        export_image_model(tmp_path / "mlp", model, decode_single_digits)
        served = load_image_model(tmp_path / "mlp")
        assert served.heatmaps(IMAGES) is None
        numbers, probabilities = served(IMAGES)
        assert all(len(number) == 1 for number in numbers) and (probabilities > 0).all()


class TestSeveralViews:
    def test_they_are_averaged(self, exported) -> None:
        once, often = exported.served(IMAGES), exported.served(IMAGES, several_views=True)
        assert np.abs(once.probabilities - often.probabilities).max() > 1e-3

    def test_they_are_the_image_a_little_moved_about_its_middle(self, exported) -> None:
        """Red tells how far down a pixel comes from, green how far across."""
        rows, columns = np.meshgrid(np.arange(16) / 15, np.arange(32) / 31, indexing="ij")
        image = tf.constant(np.stack([rows, columns, 0 * rows], -1)[None], tf.float32)
        transforms = NumberService(exported.model, decode_numbers)._views()
        views = warp(tf.repeat(image, len(transforms), 0), transforms).numpy()[..., :2]
        np.testing.assert_allclose(views[0], image.numpy()[0, ..., :2], atol=1e-6)
        middle = views[:, 7:9, 15:17].mean((1, 2))
        np.testing.assert_allclose(middle[:3], 0.5, atol=1e-3)  # sizes leave it where it is
        assert 0.01 < np.abs(middle[3:] - 0.5).max() < 0.03
        # From the middle to the right: nearer together in the view that is larger.
        spread = views[:3, 8, 24, 1] - views[:3, 8, 16, 1]
        np.testing.assert_allclose(spread / spread[0], [1.0, 0.95, 1.05], atol=1e-3)

    def test_views_of_one_colour_are_alike(self, exported) -> None:
        """Edges are repeated, so moving and scaling changes nothing."""
        plain = [png(Image.new("RGB", (32, 16), (200, 30, 90)))]
        once, often = exported.served(plain), exported.served(plain, several_views=True)
        assert once.numbers == often.numbers
        np.testing.assert_allclose(once.probabilities, often.probabilities, rtol=1e-4)


@pytest.mark.slow
def test_ctc_is_exported_with_its_search(tmp_path) -> None:
    keras.utils.set_random_seed(0)
    model = build_number_reader("ctc", tiny_reader_config())
    export_image_model(tmp_path / "ctc", model, decode_by_beam_search)
    served = load_image_model(tmp_path / "ctc")
    images = decode_images(tf.constant(IMAGES), 16, 32).images
    digits, log_probability = decode_by_beam_search(model(images))
    numbers, probabilities = served(IMAGES)
    assert numbers == labels_to_numbers(digits)
    np.testing.assert_allclose(probabilities, np.exp(log_probability), rtol=1e-3)
    heat = served.heatmaps(IMAGES)
    assert heat is not None and np.isfinite(heat).all()


@pytest.mark.slow
def test_tensorflow_alone_can_serve_it(exported) -> None:
    program = f"""
import sys
import tensorflow as tf
loaded = tf.saved_model.load({str(exported.folder)!r})
image = tf.io.encode_png(tf.zeros([20, 30, 3], tf.uint8))
answer = loaded.signatures["serving_default"](image=tf.stack([image, "nothing"]))
print(answer["number"].numpy()[1] == b"", answer["probability"].numpy()[1] == 0.0)
assert "tfcamp" not in sys.modules
"""
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd="/"
    )
    assert answer.stdout.split() == ["True", "True"]


def test_another_kind_of_saved_model_is_named(tmp_path) -> None:
    module = tf.Module()
    module.f = tf.function(lambda: {"a": tf.constant(1)}, input_signature=[])
    tf.saved_model.save(module, str(tmp_path / "other"), signatures={"classes": module.f})
    with pytest.raises(UserError, match="expected the SavedModel of a reader of numbers"):
        load_image_model(tmp_path / "other")
    with pytest.raises(UserError, match=r"a folder with saved_model\.pb"):
        load_image_model(tmp_path)

"""Decoding: against Pillow, every kind of file, and bad ones that must not harm their batch."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tfcamp.vision.images import MAX_PIXELS, decode_images, image_sizes


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def decode(data: bytes, height: int, width: int, **options) -> np.ndarray:
    """The pixels of one image as uint8, which must be valid."""
    images, valid = decode_images(tf.constant([data]), height, width, **options)
    assert valid.numpy().all()
    return np.round(images[0].numpy() * 255).astype(np.uint8)


PNG = encoded(Image.fromarray(noise(20, 30)))
JPEG = encoded(Image.fromarray(noise(20, 30)), "JPEG")


def test_png_pixels_are_exact() -> None:
    np.testing.assert_array_equal(decode(PNG, 20, 30), noise(20, 30))


def test_jpeg_pixels_are_pillows() -> None:
    smooth = Image.fromarray(noise(4, 6)).resize((60, 40), Image.Resampling.BICUBIC)
    for options in ({}, {"progressive": True}, {"quality": 30}, {"subsampling": 0}):
        data = encoded(smooth, "JPEG", **options)
        expected = np.asarray(Image.open(io.BytesIO(data)), np.int32)
        assert np.abs(decode(data, 40, 60) - expected).max() <= 2


def test_the_range_is_zero_to_one() -> None:
    data = tf.constant([encoded(Image.new("RGB", (5, 5), "white"))])
    images = decode_images(data, 9, 9).images
    assert images.dtype == tf.float32
    np.testing.assert_allclose(images, 1.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("image", "colour"),
    [
        (Image.new("L", (8, 8), 100), (100, 100, 100)),
        (Image.new("1", (8, 8), 1), (255, 255, 255)),
        (Image.fromarray(np.full((8, 8), 0x9C40, np.uint16)), (156, 156, 156)),
        (Image.new("RGBA", (8, 8), (200, 0, 50, 255)), (200, 0, 50)),
        (Image.new("RGBA", (8, 8), (0, 0, 0, 0)), (255, 255, 255)),
        (Image.new("RGBA", (8, 8), (0, 255, 0, 51)), (204, 255, 204)),
        (Image.new("LA", (8, 8), (0, 51)), (204, 204, 204)),
        (Image.new("RGB", (8, 8), (10, 20, 30)).quantize(4), (10, 20, 30)),
    ],
    ids=["grey", "bits", "16-bit", "RGBA", "clear", "half-clear", "LA", "palette"],
)
def test_every_png_becomes_rgb(image: Image.Image, colour: tuple[int, int, int]) -> None:
    assert np.unique(decode(encoded(image), 4, 4).reshape(-1, 3), axis=0).tolist() == [list(colour)]


def test_every_colour_with_every_alpha() -> None:
    colour, alpha = np.mgrid[:256, :256].astype(np.uint8)
    data = encoded(Image.fromarray(np.dstack([colour, colour, colour, alpha])))
    exact = 255 - (255 - np.mgrid[:256, :256][0]) * (np.mgrid[:256, :256][1] / 255)
    np.testing.assert_array_equal(decode(data, 256, 256)[..., 0], np.round(exact))


def test_colours_declared_clear_are_seen() -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([70, 80, 90, 0, 0, 0])
    assert (decode(encoded(image, transparency=0), 4, 4) == [70, 80, 90]).all()
    image = Image.new("RGB", (8, 8), (70, 80, 90))
    assert (decode(encoded(image, transparency=(70, 80, 90)), 4, 4) == [70, 80, 90]).all()


def test_grey_and_cmyk_jpegs_become_rgb() -> None:
    grey = decode(encoded(Image.new("L", (16, 16), 100), "JPEG"), 4, 4)
    np.testing.assert_allclose(grey, 100, atol=1)
    red = decode(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"), 4, 4)
    np.testing.assert_allclose(red, np.broadcast_to([255, 0, 0], red.shape), atol=2)


@pytest.mark.parametrize("size", [(1, 1), (20, 20_000), (20_000, 20), (3, 500)])
def test_any_size_is_brought_to_one(size: tuple[int, int]) -> None:
    data = encoded(Image.new("RGB", size, (40, 80, 120)))
    pixels = decode(data, 12, 24)
    assert (pixels == [40, 80, 120]).all()


def test_stretching_equals_tf_image() -> None:
    for height, width in ((48, 96), (7, 5), (20, 60)):
        expected = tf.image.resize(
            noise(20, 30).astype(np.float32), [height, width], antialias=True
        )
        images, _ = decode_images(tf.constant([PNG]), height, width)
        np.testing.assert_allclose(images[0] * 255, expected, atol=1e-3)


def test_shrinking_averages() -> None:
    """Without antialiasing, one column in eight would be picked out: black or white."""
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 64))
    pixels = decode(encoded(Image.fromarray(stripes)), 8, 16)
    assert np.abs(pixels.astype(int) - 127).max() < 16


def test_windows_are_cut_out() -> None:
    windows = tf.constant([[3, 2, 6, 4], [25, 15, 100, 100], [-5, -5, 7, 8], [90, 90, 5, 5]])
    images, valid = decode_images(tf.constant([PNG] * 4), 4, 6, windows=windows)
    assert valid.numpy().all()
    np.testing.assert_allclose(images[0] * 255, noise(20, 30)[2:6, 3:9], atol=1e-3)
    for row, (top, bottom, left, right) in enumerate(
        [(15, 20, 25, 30), (0, 3, 0, 2), (19, 20, 29, 30)], start=1
    ):
        part = noise(20, 30)[top:bottom, left:right].astype(np.float32)
        expected = tf.image.resize(part, [4, 6], antialias=True)
        np.testing.assert_allclose(images[row] * 255, expected, atol=1e-3)


BAD = {
    "empty": b"",
    "text": b"not an image",
    "gif": encoded(Image.new("L", (4, 4)), "GIF"),
    "bmp": encoded(Image.new("L", (4, 4)), "BMP"),
    "truncated png": PNG[: len(PNG) // 2],
    "png without its end": PNG[:-60],
    "png signature": PNG[:8],
    "png header": PNG[:33],
    "truncated jpeg": JPEG[: len(JPEG) // 2],
    "jpeg signature": JPEG[:3],
    "jpeg of fill bytes": b"\xff" * 20_000,
    "jpeg of comments": b"\xff\xd8" + b"\xff\xfe\0\2" * 50_000,
    "jpeg walk beyond the end": b"\xff\xd8\xff\xe0\xff\xff",
    "jpeg without height": JPEG.replace(struct.pack(">HH", 20, 30), struct.pack(">HH", 0, 30)),
    "damaged png": PNG[:60] + bytes(40) + PNG[100:],
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_bad_image_does_not_harm_its_batch(bad: bytes) -> None:
    images, valid = decode_images(tf.constant([PNG, bad, JPEG, bad]), 20, 30)
    assert valid.numpy().tolist() == [True, False, True, False]
    alone = decode_images(tf.constant([PNG, JPEG]), 20, 30).images
    np.testing.assert_array_equal(images.numpy()[[0, 2]], alone)
    assert not images.numpy()[[1, 3]].any()


def test_bad_images_only() -> None:
    images, valid = decode_images(tf.constant([b"", b"?"]), 4, 8)
    assert images.shape == (2, 4, 8, 3) and not images.numpy().any() and not valid.numpy().any()


def test_no_images() -> None:
    images, valid = decode_images(tf.constant([], tf.string), 4, 8)
    assert images.shape == (0, 4, 8, 3) and valid.shape == (0,)


@settings(deadline=None, max_examples=30)
@given(st.binary(max_size=200), st.sampled_from([b"", PNG[:8], PNG[:33], JPEG[:3], JPEG[:100]]))
def test_arbitrary_bytes_are_no_accident(tail: bytes, head: bytes) -> None:
    images, valid = decode_images(tf.constant([head + tail, PNG]), 4, 4)
    assert valid.numpy()[1] and np.isfinite(images.numpy()).all()


def png_of(height: int, width: int, *, depth: int = 1, colour_type: int = 0) -> bytes:
    """A PNG of zeros, written row by row: Pillow would hold all of it."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + name
            + content
            + struct.pack(">I", zlib.crc32(name + content))
        )

    packer = zlib.compressobj(9)
    channels = {0: 1, 2: 3, 6: 4}[colour_type]
    row = bytes(1 + (width * depth * channels + 7) // 8)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return PNG[:8] + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_an_image_bomb_is_refused_by_its_header() -> None:
    bomb = png_of(13_000, 13_000)
    assert len(bomb) < 30_000
    assert image_sizes(tf.constant([bomb])).numpy().tolist() == [[13_000, 13_000]]
    _, valid = decode_images(tf.constant([bomb, PNG]), 4, 4)
    assert valid.numpy().tolist() == [False, True]


def jpeg_with_a_planted_header(marker: int) -> bytes:
    """A JPEG of 90 x 120 that seems to be one of 16 x 16 to who reads a length after any marker.

    The decoder reads none after this one, so for it what follows is the segment APP0. For others
    the marker of APP0 is the length, 65,504, of a segment that ends where a comment holds another
    frame header.
    """
    data = encoded(Image.new("RGB", (120, 90)), "JPEG")
    begin = data[:2] + b"\xff" + bytes([marker])
    (length,) = struct.unpack(">H", data[4:6])
    start, rest = begin + data[2 : 4 + length], data[4 + length :]
    planted = b"\xff\xc0" + struct.pack(">HBHH", 11, 8, 16, 16) + bytes(8)
    comment = bytes(len(begin) + 0xFFE0 - len(start) - 4) + planted
    return start + b"\xff\xfe" + struct.pack(">H", 2 + len(comment)) + comment + rest


@pytest.mark.parametrize("marker", [0xD0, 0xD7, 0x01, 0x00])
def test_the_size_is_the_decoders(marker: int) -> None:
    data = tf.constant([JPEG, jpeg_with_a_planted_header(marker), PNG])
    assert image_sizes(data).numpy().tolist() == [[20, 30], [90, 120], [20, 30]]
    assert decode_images(data, 4, 4).valid.numpy().all()
    assert decode_images(data, 4, 4, max_pixels=5000).valid.numpy().tolist() == [True, False, True]


def test_the_limit_counts_pixels() -> None:
    data = tf.constant([PNG, JPEG])
    assert decode_images(data, 4, 4, max_pixels=600).valid.numpy().all()
    assert not decode_images(data, 4, 4, max_pixels=599).valid.numpy().any()
    assert 24_000_000 < MAX_PIXELS < 50_000_000


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory is counted otherwise")
@pytest.mark.parametrize("colour_type", [2, 6], ids=["RGB", "RGBA"])
def test_memory_grows_neither_with_the_batch_nor_with_cores(
    tmp_path: Path, colour_type: int
) -> None:
    """Decoded one by one, the largest pictures take 100 MB, with alpha 500 MB."""
    (tmp_path / "large.png").write_bytes(png_of(2**12, 2**13, depth=8, colour_type=colour_type))
    program = r"""
import pathlib, re, sys
import tensorflow as tf
from tfcamp.vision.images import decode_images

def peak():  # in MB; getrusage's begins with that of the parent
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) // 2**10

tf.config.threading.set_inter_op_parallelism_threads(8)
large = pathlib.Path(sys.argv[1]).read_bytes()
decode_images(tf.constant([large[:100]]), 48, 96)
before = peak()
assert decode_images(tf.constant([large] * 6), 48, 96).valid.numpy().all()
print(peak() - before)
"""
    command = [sys.executable, "-c", program, tmp_path / "large.png"]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(answer.stdout) < 800


@pytest.mark.parametrize("sides", [(2**31 - 1, 2**31 - 1), (2**32 - 1, 2**32 - 1), (2**31, 2**33)])
def test_sides_whose_product_overflows(sides: tuple[int, int]) -> None:
    header = struct.pack(">II", *(side % 2**32 for side in sides))
    data = PNG[:16] + header + PNG[24:]
    assert not decode_images(tf.constant([data]), 4, 4).valid.numpy().any()


def test_sizes_come_from_the_headers() -> None:
    small = Image.new("RGB", (7, 5))
    files = {
        "progressive": encoded(small, "JPEG", progressive=True),
        "exif": encoded(small, "JPEG", exif=b"Exif\0\0" + JPEG[:600], comment=b"x" * 60_000),
        "grey": encoded(small.convert("L"), "JPEG"),
        "png": encoded(small),
        "fill bytes": (data := encoded(small, "JPEG"))[:2] + b"\xff\xff\xff" + data[2:],
    }
    assert image_sizes(tf.constant(list(files.values()))).numpy().tolist() == [[5, 7]] * len(files)
    assert decode_images(tf.constant(list(files.values())), 4, 4).valid.numpy().all()


def test_the_same_in_a_graph_in_tf_data_and_saved(tmp_path: Path) -> None:
    batch = [PNG, b"", JPEG, *BAD.values()]
    expected = decode_images(tf.constant(batch), 12, 24)

    class Service(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def serve(self, data):
            return decode_images(data, 12, 24)._asdict()

    service = Service()
    tf.saved_model.save(service, str(tmp_path / "saved"), signatures=service.serve)
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    rows = tf.data.Dataset.from_tensors(batch).map(lambda data: decode_images(data, 12, 24))
    results = [loaded.signatures["serving_default"](tf.constant(batch)), next(iter(rows))._asdict()]
    for result in results:
        np.testing.assert_array_equal(result["images"], expected.images)
        np.testing.assert_array_equal(result["valid"], expected.valid)
        assert result["images"].shape[1:] == (12, 24, 3)

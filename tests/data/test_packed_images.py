"""Packed images: what was written is read, by row number; augmentation goes on where it was."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.disk import full_disk
from tfcamp.data.packed_images import PackedImages
from tfcamp.data.pipeline import BatchStream

HEIGHT, WIDTH = 5, 7


def pixels(num_rows: int = 11) -> np.ndarray:
    shape = (num_rows, HEIGHT, WIDTH, 3)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def batches(num_rows: int = 11, size: int = 4, then: BaseException | None = None):
    images = pixels(num_rows)
    for i in range(0, num_rows, size):
        rows = np.arange(i, min(i + size, num_rows))
        boxes = np.tile([0.0, 0.25, 1.0, 0.5], (len(rows), 1)) + 0.001 * rows[:, None]
        labels = np.tile([1, -1], (len(rows), 1)) * rows[:, None]
        yield tf.cast(images[rows], tf.float32) / 255.0, boxes, labels
    if then is not None:
        raise then


@pytest.fixture
def packed(tmp_path) -> PackedImages:
    return PackedImages.write(tmp_path / "packed", HEIGHT, WIDTH, batches())


def test_what_was_written_is_read(packed) -> None:
    rows = np.array([3, 10, 0, 3])
    inputs, labels, weights = packed.read(rows, 1, num_real=3)
    np.testing.assert_array_equal(inputs["image"], pixels()[rows])
    np.testing.assert_allclose(inputs["box"][:, 1], 0.25 + 0.001 * rows, rtol=1e-6)
    assert labels.tolist() == [[3, -3], [10, -10], [0, 0], [3, -3]]
    assert weights.tolist() == [1, 1, 1, 0]
    assert packed.read(rows, 1)[2].tolist() == [1] * 4


def test_opened_again(packed, tmp_path) -> None:
    again = PackedImages(tmp_path / "packed")
    assert len(again) == 11 and again.lengths.tolist() == [1] * 11
    np.testing.assert_array_equal(again.read(np.arange(11))[0]["image"], pixels())


def test_the_signature_is_that_of_what_is_read(packed) -> None:
    specs = tf.nest.flatten(packed.signature(3, 1))
    arrays = tf.nest.flatten(packed.read(np.arange(3), 1))
    for spec, array in zip(specs, arrays, strict=True):
        assert spec.shape == array.shape and spec.dtype == array.dtype


def test_a_stream_of_full_batches_has_one_shape(packed) -> None:
    stream = BatchStream(packed, 4, 0, 1, static_shapes=True, only_full=True)
    assert stream.has_one_shape and stream.steps_per_epoch == 2
    specs: Any = stream.dataset().element_spec
    inputs, labels, _ = specs
    assert inputs["image"].shape == (4, HEIGHT, WIDTH, 3) and labels.shape == (4, 2)
    assert all(weights.all() for _, _, weights in stream.batches(num_epochs=3))


def test_values_are_rounded_and_not_cut_off(tmp_path) -> None:
    image = np.full((1, HEIGHT, WIDTH, 3), 0.9999, np.float32)
    packed = PackedImages.write(tmp_path / "one", HEIGHT, WIDTH, [(image, np.zeros((1, 4)), [5])])
    inputs, labels, _ = packed.read(np.array([0]))
    assert inputs["image"].min() == 255 and labels.tolist() == [5]


def test_what_does_not_fit_is_refused(tmp_path) -> None:
    for images, boxes in ((np.zeros((1, 4, WIDTH, 3)), 1), (np.zeros((1, HEIGHT, WIDTH, 3)), 2)):
        with pytest.raises(ValueError, match="do not fit images of"):
            batch = (images, np.zeros((boxes, 4)), [0])
            PackedImages.write(tmp_path / "packed", HEIGHT, WIDTH, [batch])


def test_a_crash_while_packing_leaves_nothing_to_read(tmp_path) -> None:
    with pytest.raises(KeyboardInterrupt):
        crashing = batches(then=KeyboardInterrupt())
        PackedImages.write(tmp_path / "packed", HEIGHT, WIDTH, crashing)
    with pytest.raises(FileNotFoundError):
        PackedImages(tmp_path / "packed")


def test_a_full_disk_names_itself(tmp_path) -> None:
    with full_disk(4096), pytest.raises(OSError) as caught:
        PackedImages.write(tmp_path / "packed", HEIGHT, WIDTH, batches(200))
    assert caught.value.errno is not None
    assert not (tmp_path / "packed").exists()


def test_a_file_that_was_cut_off_is_named(packed, tmp_path) -> None:
    path = tmp_path / "packed/images.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(OSError, match=r"images\.bin is cut off"):
        packed.read(np.array([10]))


# Pictures through packing and reading, and the most memory that was resident meanwhile.
MEASURE_MEMORY = """
import sys
from pathlib import Path

import numpy as np
import psutil
import tensorflow as tf

import tfcamp
from tfcamp.data.packed_images import PackedImages
from tfcamp.data.pipeline import BatchStream

num_rows, folder = int(sys.argv[1]), Path(sys.argv[2])
process, peak = psutil.Process(), 0

def measure():
    global peak
    peak = max(peak, process.memory_info().rss)

def batches():
    for _ in range(num_rows // 256):
        measure()
        yield np.ones((256, 48, 96, 3), np.float32), np.zeros((256, 4)), np.zeros((256, 6), int)

def scale(inputs, labels, weights, seed):
    return tf.cast(inputs["image"], tf.float32) / 255.0, labels, weights

packed = PackedImages.write(folder / "packed", 48, 96, batches())
stream = BatchStream(packed, 32, 0, 1, static_shapes=True, transform=scale)
for step, _ in enumerate(stream.dataset(num_epochs=1)):
    if step % 20 == 0:
        measure()
print(peak)
"""


@pytest.mark.slow
def test_memory_stays_flat_when_the_data_grow_ten_fold(tmp_path) -> None:
    def peak_memory(num_rows: int) -> int:
        command = [sys.executable, "-c", MEASURE_MEMORY, str(num_rows), str(tmp_path)]
        answer = subprocess.run(
            command, check=True, capture_output=True, text=True, env={**os.environ}
        )
        return int(answer.stdout.split()[-1])

    small, large = peak_memory(2_048), peak_memory(20_480)
    assert large < 1.2 * small, f"{small / 2**20:.0f} MB grew to {large / 2**20:.0f} MB"

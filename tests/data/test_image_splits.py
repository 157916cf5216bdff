"""Photographs that stand upright only by what their camera noted in EXIF."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import ExifTags, Image

from tfcamp.data import image_splits
from tfcamp.data.image_sources import load_image_dataset
from tfcamp.data.image_splits import encode_png, turn_upright
from tfcamp.vision.images import decode_images

# Four corners that differ, 24 pixels high and 40 wide.
UPRIGHT = np.kron(
    np.array([[[250, 250, 250], [250, 0, 0]], [[0, 0, 250], [0, 0, 0]]], np.uint8),
    np.ones((12, 20, 1), np.uint8),
)
# What a camera stores of it, by the number that it notes (Exif 2.32, tag 0x0112): where row 0 and
# column 0 of the pixels are in the scene.
STORED = {
    1: UPRIGHT,  # top, left
    2: UPRIGHT[:, ::-1],  # top, right
    3: UPRIGHT[::-1, ::-1],  # bottom, right
    4: UPRIGHT[::-1],  # bottom, left
    5: UPRIGHT.swapaxes(0, 1),  # left, top
    6: UPRIGHT[:, ::-1].swapaxes(0, 1),  # right, top
    7: UPRIGHT[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: UPRIGHT[::-1].swapaxes(0, 1),  # left, bottom
}


def photograph(orientation: int) -> bytes:
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(STORED.get(orientation, UPRIGHT)).save(file, "JPEG", quality=95, exif=exif)
    return file.getvalue()


def stands_upright(data: bytes) -> bool:
    """Whether a model sees the scene as it is."""
    images, valid = decode_images(tf.constant([data]), *UPRIGHT.shape[:2])
    assert valid.numpy().all()
    return bool(np.abs(images[0].numpy() * 255 - UPRIGHT).mean() < 12)


@pytest.mark.parametrize("orientation", STORED)
def test_every_orientation(orientation: int) -> None:
    data = photograph(orientation)
    assert stands_upright(data) == (orientation == 1)
    upright = turn_upright(data)
    assert stands_upright(upright)
    assert (upright is data) == (orientation == 1)
    assert turn_upright(upright) is upright


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_a_number_that_means_nothing(orientation: int) -> None:
    data = photograph(orientation)
    assert turn_upright(data) is data


def test_what_cannot_be_turned_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    data = photograph(6)
    for other in (
        b"",
        b"no picture",
        encode_png(UPRIGHT),
        *(data[:end] for end in range(len(data))),
    ):
        assert turn_upright(other) is other
    monkeypatch.setattr(image_splits, "MAX_PIXELS", UPRIGHT.size // 3 - 1)
    assert turn_upright(data) is data


def test_a_damaged_note_is_no_accident() -> None:
    """Of a camera that notes a good deal, as all do: any byte of it may be any other."""
    exif, file, random = Image.Exif(), io.BytesIO(), np.random.default_rng(0)
    exif[0x0112] = 6
    exif[ExifTags.Base.Make] = "camera"
    exif[ExifTags.Base.XResolution] = 72.0
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExposureTime] = 0.01
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (31.0, 12.0, 30.5)
    Image.fromarray(STORED[6]).save(file, "JPEG", exif=exif)
    data = file.getvalue()
    for place in range(20, data.index(b"\xff\xdb")):  # where the picture begins
        for value in random.integers(256, size=8):
            damaged = bytearray(data)
            damaged[place] = value
            turn_upright(bytes(damaged))


def test_grey_and_cmyk_photographs() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for mode in ("L", "CMYK"):
        file = io.BytesIO()
        Image.new(mode, (40, 24)).save(file, "JPEG", exif=exif)
        with Image.open(io.BytesIO(turn_upright(file.getvalue()))) as image:
            assert (image.size, image.mode) == ((24, 40), mode)


def test_images_of_the_users_own(tmp_path: Path) -> None:
    names = [f"{position}.jpg" for position in range(10)]
    for name in names:
        # Which differ, as photographs do.
        (tmp_path / name).write_bytes(photograph(6) + name.encode())
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "number"), *((name, 7) for name in names)])
    dataset = load_image_dataset(str(tmp_path), data_dir=tmp_path, seed=0)
    assert all(stands_upright(row.image) for row in dataset.train)


@pytest.mark.parametrize("boxes", [True, False])
def test_boxes_mark_pixels_as_they_are_stored(tmp_path: Path, boxes: bool) -> None:
    entry = {"label": [7]} | (
        {"left": [2], "top": [3], "width": [5], "height": [9]} if boxes else {}
    )
    for stem in ("train", "val"):
        (tmp_path / stem).mkdir()
        (tmp_path / stem / "a.jpg").write_bytes(photograph(6))
        (tmp_path / f"{stem}.json").write_text(json.dumps({"a.jpg": entry}), "utf-8")
    (row,) = load_image_dataset(str(tmp_path), data_dir=tmp_path, seed=0).train
    assert (row.image == photograph(6)) == boxes
    assert stands_upright(row.image) != boxes

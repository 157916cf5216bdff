"""Drawings: a function of seed and index, digits where the boxes are, splits that share nothing."""

import subprocess
import sys

import numpy as np
import pytest

from tfcamp.vision import glyphs, scenes
from tfcamp.vision.glyphs import GLYPH_HEIGHT, Pen, font_digit, pen_digit
from tfcamp.vision.render import SPLITS, draw_number, render_number

TYPEFACES = (*glyphs.TRAIN_TYPEFACES, *glyphs.TEST_TYPEFACES)


@pytest.mark.parametrize("split", SPLITS)
def test_drawings_are_pictures_of_numbers(split: str) -> None:
    for index in range(60):
        image, number, boxes = render_number(0, index, split)
        height, width, _ = image.shape
        assert image.dtype == np.uint8 and image.shape[2] == 3
        assert 20 <= height <= 130 and 15 <= width <= 300
        assert 1 <= len(number) <= 6 and number.isdecimal() and number[0] != "0"
        assert boxes.dtype == np.int32 and boxes.shape == (len(number), 4)
        assert (boxes[:, 2:] > 0).all() and (boxes[:, :2] >= 0).all()
        assert (boxes[:, 0] + boxes[:, 2] <= width).all()
        assert (boxes[:, 1] + boxes[:, 3] <= height).all()
        # From left to right.
        assert (np.diff(boxes[:, 0] + boxes[:, 2] / 2) > 0).all()
        assert draw_number(0, index, split) == number


def test_a_drawing_is_a_function_of_seed_index_and_split() -> None:
    first = render_number(1, 7, "train")
    for index in (3, 900, 12):
        render_number(1, index, "train")
    again = render_number(1, 7, "train")
    np.testing.assert_array_equal(first.image, again.image)
    others = [
        render_number(2, 7, "train"),
        render_number(1, 8, "train"),
        render_number(1, 7, "dev"),
    ]
    for other in others:
        assert first.image.shape != other.image.shape or (first.image != other.image).any()


def test_another_process_draws_the_same() -> None:
    program = (
        "from tfcamp.vision.render import render_number; import hashlib; "
        "print(hashlib.sha256(render_number(1, 7, 'train').image.tobytes()).hexdigest())"
    )
    run = [sys.executable, "-W", "ignore", "-c", program]
    digests = {subprocess.run(run, check=True, capture_output=True).stdout for _ in range(2)}
    assert len(digests) == 1


def test_digits_are_where_the_boxes_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a plain wall in plain light, what differs from the wall lies in the boxes."""
    monkeypatch.setattr(scenes, "TRAIN_WALLS", ("plain",))
    monkeypatch.setattr(scenes, "TRAIN_PLATES", ("none",))
    contrasts = []
    for index in range(100):
        image, _, boxes = render_number(5, index, "train")
        inside = np.zeros(image.shape[:2], bool)
        for left, top, width, height in boxes:
            inside[top : top + height, left : left + width] = True
        grey = image.mean(-1)
        difference = np.abs(grey - np.median(grey[~inside]))
        contrasts.append(difference[inside].mean() - difference[~inside].mean())
    assert np.mean(np.array(contrasts) > 0) > 0.95
    assert np.mean(contrasts) > 15


def test_lengths_and_digits_are_spread() -> None:
    numbers = [draw_number(0, index, "train") for index in range(3000)]
    lengths = np.bincount([len(number) for number in numbers], minlength=7)[1:] / 3000
    assert lengths.argmax() == 1 and (lengths > 0.003).all()
    digits = np.bincount([int(digit) for number in numbers for digit in number], minlength=10)
    assert digits.argmax() == 1 and (digits > 0.05 * digits.sum()).all()


class TestHeldOut:
    def test_the_splits_share_no_typeface(self) -> None:
        assert not set(glyphs.TRAIN_TYPEFACES) & set(glyphs.TEST_TYPEFACES)
        assert not set(scenes.TRAIN_WALLS) & set(scenes.TEST_WALLS)
        assert set(scenes.TRAIN_PLATES) & set(scenes.TEST_PLATES) == {"none"}

    @pytest.mark.parametrize("split", SPLITS)
    def test_and_only_use_their_own(self, split: str, monkeypatch: pytest.MonkeyPatch) -> None:
        used = set()
        from tfcamp.vision import render

        def font(typeface, digit, boldness=0):
            used.add(typeface)
            return font_digit(typeface, digit, boldness)

        monkeypatch.setattr(render, "font_digit", font)
        monkeypatch.setattr(render, "pen_digit", lambda pen, digit: used.add("pen") or GLYPH)
        GLYPH = pen_digit(Pen.draw(np.random.default_rng(0)), 0)
        wall = scenes._wall
        monkeypatch.setattr(
            scenes, "_wall", lambda rng, kind, *rest: used.add(kind) or wall(rng, kind, *rest)
        )
        for index in range(150):
            render_number(0, index, split)
        if split == "test":
            assert used == {*glyphs.TEST_TYPEFACES, *scenes.TEST_WALLS}
        else:
            assert used <= {*glyphs.TRAIN_TYPEFACES, *scenes.TRAIN_WALLS, "pen"}
            assert len(used) > 15


@pytest.mark.parametrize("typeface", TYPEFACES, ids=lambda face: f"{face.file}+{face.zero:x}")
def test_every_typeface_has_ten_digits(typeface: glyphs.Typeface) -> None:
    """A character that a font lacks is an empty box, the same for all digits."""
    images = [font_digit(typeface, digit) for digit in range(10)]
    assert all(image.height == GLYPH_HEIGHT for image in images)
    assert len({image.tobytes() for image in images}) == 10
    assert all(np.asarray(image).max() > 200 for image in images)
    # Digits fill the height: the scale is that of the digits, not of the line.
    extents = [np.flatnonzero(np.asarray(image).max(1) > 128) for image in images]
    assert min(extent[0] for extent in extents) < 6
    assert max(extent[-1] for extent in extents) > GLYPH_HEIGHT - 7


def test_every_pen_draws_ten_digits() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        pen = Pen.draw(rng)
        images = [pen_digit(pen, digit) for digit in range(10)]
        assert all(image.height == GLYPH_HEIGHT for image in images)
        assert len({image.tobytes() for image in images}) == 10
        for image in images:
            rows = np.flatnonzero(np.asarray(image).max(1))
            assert rows[0] < 5 and rows[-1] > GLYPH_HEIGHT - 6
    with pytest.raises(ValueError, match="10"):
        pen_digit(pen, 10)


@pytest.mark.parametrize("wall", [*scenes.TRAIN_WALLS, *scenes.TEST_WALLS])
def test_every_wall_can_be_drawn(wall: str) -> None:
    drawn = scenes._wall(np.random.default_rng(0), wall, (50, 30), np.full(3, 0.5), 0.2)
    assert drawn.shape == (30, 50, 3) and drawn.min() >= 0 and drawn.max() <= 1
    assert (drawn.std() < 1e-6) == (wall == "plain")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0, "validation"), "split must be one of .* 'validation'"),
        ((-1, 0, "train"), "must not be negative, got -1 and 0"),
        ((0, -5, "train"), "must not be negative, got 0 and -5"),
    ],
)
def test_mistakes(arguments: tuple[int, int, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render_number(*arguments)

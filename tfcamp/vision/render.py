"""Draws photographs of house numbers: as many as are wanted, each a function of seed and index.

A drawing goes the way of a photograph: digits of one style (`tfcamp.vision.glyphs`), turned and
slanted by the camera's place, on a wall or a plate (`tfcamp.vision.scenes`); the lens blurs, the
sensor adds noise, the number is some 10 to 50 pixels tall and stored as a JPEG, then cut out
closely and brought to one height. Scale, sharpness, contrast, tilt and margins
follow photographs from Street View (SVHN; Netzer et al., 2011), of which people, too, misread some.
Clear drawings leave out the hardest: the smallest, the most blurred, the palest.

The splits ``train`` and ``dev`` share typefaces and backgrounds, ``test`` has its own. ``train``
has more of the long numbers.
"""

import io
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from tfcamp.vision.glyphs import (
    GLYPH_HEIGHT,
    TEST_TYPEFACES,
    TRAIN_TYPEFACES,
    Pen,
    Typeface,
    font_digit,
    pen_digit,
)
from tfcamp.vision.scenes import bounds_of, draw_scene

SPLITS = ("train", "dev", "test")

# Shares of the numbers of one to six digits: about those of SVHN's training photographs (15, 54, 26
# and 4 %). Training sees more of the long ones: what is rare and hard is not learnt in passing.
_LENGTHS = (0.17, 0.54, 0.22, 0.05, 0.013, 0.007)
_TRAIN_LENGTHS = (0.2, 0.4, 0.2, 0.1, 0.06, 0.04)
# Height of a digit in pixels: where the scene is put together, and in the finished picture.
_SCENE_HEIGHT = 40
_PICTURE_HEIGHT = 28


class _Difficulty(NamedTuple):
    """How hard a drawing may be to read.

    Attributes:
      contrast: the least difference in lightness between digits and ground; white is 1.
      height: the least height of the number in the camera's pixels.
      blur: the most, as a share of that height.
    """

    contrast: float
    height: int
    blur: float


_CLEAR = _Difficulty(contrast=0.45, height=24, blur=0.025)
_HARD = _Difficulty(contrast=0.2, height=12, blur=0.08)


class Drawing(NamedTuple):
    """A picture of a number.

    Attributes:
      image: uint8[H, W, 3].
      number: one to six digits.
      boxes: int32[N, 4], left, top, width, height of each digit in pixels.
    """

    image: npt.NDArray[np.uint8]
    number: str
    boxes: npt.NDArray[np.int32]


def render_number(seed: int, index: int, split: str, *, clear: bool = False) -> Drawing:
    """Returns a drawing, always the same for the same arguments.

    Args:
      seed: at least 0.
      index: the number of the drawing, at least 0.
      split: one of `SPLITS`.
      clear: whether it can be read without effort.

    Raises:
      ValueError: there is no such split, or seed or index is negative.
    """
    rng, difficulty = _generator(seed, index, split), _CLEAR if clear else _HARD
    number = _draw_number(rng, split)
    mask, cells = _lay_out(rng, number, split)
    place, size = _camera(rng, mask, cells)
    digits = _project(mask, place, size)
    corners = _corners(cells, place)
    scene = draw_scene(
        rng,
        digits,
        np.concatenate(corners),
        held_out=split == "test",
        least_contrast=difficulty.contrast,
    )
    image, scale = _photograph(rng, scene, difficulty)
    edges = np.array([bounds_of(points) for points in corners]) * scale
    # Whole pixels that hold the digit.
    begin, end = np.floor(edges[:, :2]), np.ceil(edges[:, 2:])
    return Drawing(image, number, np.concatenate([begin, end - begin], axis=1).astype(np.int32))


def draw_number(seed: int, index: int, split: str) -> str:
    """Returns the number of a drawing without drawing it.

    >>> draw_number(0, 5, "dev") == render_number(0, 5, "dev").number
    True
    """
    return _draw_number(_generator(seed, index, split), split)


def _generator(seed: int, index: int, split: str) -> np.random.Generator:
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
    if seed < 0 or index < 0:
        raise ValueError(f"seed and index must not be negative, got {seed} and {index}")
    return np.random.default_rng((seed, SPLITS.index(split), index))


def _draw_number(rng: np.random.Generator, split: str) -> str:
    """Draws a number: small first digits are commoner (Benford), none begins with 0."""
    shares = _TRAIN_LENGTHS if split == "train" else _LENGTHS
    length = int(rng.choice(len(shares), p=shares)) + 1
    first = int(10 ** rng.uniform(0, 1)) if rng.random() < 0.5 else int(rng.integers(1, 10))
    return str(first) + "".join(str(digit) for digit in rng.integers(0, 10, length - 1))


def _lay_out(
    rng: np.random.Generator, number: str, split: str
) -> tuple[Image.Image, npt.NDArray[np.float64]]:
    """Sets the digits side by side.

    Returns:
      A mask of mode L, GLYPH_HEIGHT and a border tall, and float64[N, 4] left, top, right, bottom
      of each digit in it.
    """
    glyphs = _glyphs(rng, number, split)
    border = GLYPH_HEIGHT // 2
    gap = rng.uniform(0.02, 0.25) * GLYPH_HEIGHT
    # Numbers made of single digits do not stand quite in line.
    wobble = rng.uniform(0.0, 0.06) * GLYPH_HEIGHT if rng.random() < 0.4 else 0.0
    lefts = border + np.cumsum([0.0] + [glyph.width + gap for glyph in glyphs[:-1]])
    lefts += rng.normal(0.0, 0.3 * wobble + 1e-9, len(glyphs))
    tops = border + rng.normal(0.0, wobble + 1e-9, len(glyphs))
    width = int(lefts[-1]) + glyphs[-1].width + border
    mask = Image.new("L", (width, GLYPH_HEIGHT + 2 * border), 0)
    for glyph, left, top in zip(glyphs, lefts, tops, strict=True):
        mask.paste(255, (round(left), round(top)), glyph)
    if rng.random() < 0.06:
        # The next house's number, or a letter's edge, which is not read.
        neighbour = font_digit(_typeface(rng, split), int(rng.integers(10)))
        at_left = rng.random() < 0.5
        mask.paste(255, (-neighbour.width * 2 // 3 if at_left else width - 8, border), neighbour)
    widths = [glyph.width for glyph in glyphs]
    return mask, np.stack([lefts, tops, lefts + widths, tops + GLYPH_HEIGHT], axis=1)


def _glyphs(rng: np.random.Generator, number: str, split: str) -> list[Image.Image]:
    """Draws the digits in one style."""
    if split != "test" and rng.random() < 0.5:
        pen = Pen.draw(rng)
        return [pen_digit(pen, int(digit)) for digit in number]
    typeface = _typeface(rng, split)
    stretch = rng.uniform(0.6, 1.15)
    # House numbers are seldom thin. What is bold stays as it is: its counters would close.
    boldness = 0 if typeface.bold else int(rng.choice(4, p=[0.4, 0.3, 0.2, 0.1]))
    glyphs = []
    for digit in number:
        glyph = font_digit(typeface, int(digit), boldness)
        width = max(3, round(glyph.width * stretch))
        glyphs.append(glyph.resize((width, GLYPH_HEIGHT), Image.Resampling.BILINEAR))
    return glyphs


def _typeface(rng: np.random.Generator, split: str) -> Typeface:
    typefaces = TEST_TYPEFACES if split == "test" else TRAIN_TYPEFACES
    return typefaces[rng.integers(len(typefaces))]


def _camera(
    rng: np.random.Generator, mask: Image.Image, cells: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], tuple[int, int]]:
    """Draws where the camera stands.

    Returns:
      The projective map float64[3, 3] from the mask to the scene, and the scene's width and height.
    """
    scale = _SCENE_HEIGHT / GLYPH_HEIGHT
    angle = math.radians(rng.normal(0.0, 5.0) if rng.random() < 0.8 else rng.normal(0.0, 16.0))
    slant, rise = rng.normal(0.0, 0.12), rng.normal(0.0, 0.08)
    rotate = [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0]]
    shear = [[rng.uniform(0.85, 1.15), slant, 0], [rise, 1, 0], [0, 0, 1]]
    middle = np.eye(3)
    middle[:2, 2] = -mask.width / 2, -mask.height / 2
    place = np.array([*rotate, [0, 0, 1]]) @ shear @ np.diag([scale, scale, 1]) @ middle
    lens = np.eye(3)
    lens[2, :2] = rng.normal(0.0, 0.0012, 2)
    place = lens @ place
    bounds = np.concatenate(_corners(cells, place))
    left, top = bounds.min(0)
    right, bottom = bounds.max(0)
    before, after = rng.uniform(0.08, 0.4, 2) * _SCENE_HEIGHT
    above, below = rng.uniform(0.0, 0.18, 2) * _SCENE_HEIGHT
    shift = np.eye(3)
    shift[:2, 2] = before - left, above - top
    size = (math.ceil(right - left + before + after), math.ceil(bottom - top + above + below))
    return shift @ place, size


def _corners(
    cells: npt.NDArray[np.float64], place: npt.NDArray[np.float64]
) -> list[npt.NDArray[np.float64]]:
    """Returns float64[4, 2] for each cell: where its corners come to lie in the scene."""
    left, top, right, bottom = cells.T
    ones = np.ones_like(left)
    corners = np.stack(
        [(left, top, ones), (right, top, ones), (right, bottom, ones), (left, bottom, ones)]
    )
    projected = np.einsum("ij,cjn->nci", place, corners)
    return list(projected[..., :2] / projected[..., 2:])


def _project(
    mask: Image.Image, place: npt.NDArray[np.float64], size: tuple[int, int]
) -> Image.Image:
    """Maps the mask into the scene."""
    inverse = np.linalg.inv(place)
    rows = (inverse / inverse[2, 2]).ravel()[:8]
    return mask.transform(size, Image.Transform.PERSPECTIVE, tuple(rows), Image.Resampling.BILINEAR)


def _photograph(
    rng: np.random.Generator, scene: npt.NDArray[np.float32], difficulty: _Difficulty
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """Takes the picture at a street camera's resolution, stores it, and enlarges what is cut out.

    Returns:
      uint8[H, W, 3] and by how much a box float[left, top, right, bottom] of the scene grows.
    """
    height, width = scene.shape[:2]
    tall = math.exp(rng.normal(math.log(24), 0.45))
    tall = float(np.clip(tall, difficulty.height, 60))
    image = Image.fromarray((scene * 255).astype(np.uint8))
    small = image.resize(
        (max(4, round(width * tall / _SCENE_HEIGHT)), max(6, round(height * tall / _SCENE_HEIGHT))),
        Image.Resampling.BILINEAR,
    )
    blur = float(min(rng.gamma(1.6, 0.026), difficulty.blur) * tall)
    small = small.filter(ImageFilter.GaussianBlur(blur))
    noise = rng.normal(0, 255 * rng.uniform(0, 0.03), (small.height, small.width, 3))
    small = Image.fromarray(np.clip(np.asarray(small) + noise, 0, 255).astype(np.uint8))
    if rng.random() < 0.7:
        file = io.BytesIO()
        small.save(file, "JPEG", quality=int(rng.integers(30, 90)))
        small = Image.open(file)
    enlarge = _PICTURE_HEIGHT / _SCENE_HEIGHT
    size = (max(8, round(width * enlarge)), max(8, round(height * enlarge)))
    picture = small.resize(size, Image.Resampling.BICUBIC)
    grown = np.array([size[0] / width, size[1] / height] * 2)
    return np.asarray(picture), grown

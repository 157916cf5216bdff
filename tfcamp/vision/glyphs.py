"""Shapes of digits: from the fonts that come with the dependencies, and drawn with a pen.

The fonts are matplotlib's (DejaVu, STIX, Computer Modern) and Pillow's (Aileron). House numbers are
seldom set in those, so a pen draws digits too, from skeletons with many parameters: round or square
bowls, open and closed fours, flat threes, a bar through the seven, thick and thin.
"""

import functools
import math
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

# Height in pixels at which digits are drawn, before they are brought to the picture's scale.
GLYPH_HEIGHT = 64

_FONT_FOLDER = Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@dataclass(frozen=True)
class Typeface:
    """A font file and where its digits are.

    Attributes:
      file: name of one of matplotlib's font files; empty for Pillow's own font.
      zero: code point of the digit zero: STIX has digits of other styles among the mathematical
        letters.
      bold: whether its strokes are thick.
    """

    file: str
    zero: int = ord("0")
    bold: bool = False


# The test split has typefaces that nothing was trained on: one sans serif, one monospaced, two with
# serifs, one of them italic.
TEST_TYPEFACES = (
    Typeface("cmss10.ttf"),
    Typeface("DejaVuSansMono-Bold.ttf", bold=True),
    Typeface("STIXGeneralBol.ttf", bold=True),
    Typeface("DejaVuSerif-BoldItalic.ttf", bold=True),
)
TRAIN_TYPEFACES = (
    Typeface(""),
    Typeface("DejaVuSans.ttf"),
    Typeface("DejaVuSans-Bold.ttf", bold=True),
    Typeface("DejaVuSans-Oblique.ttf"),
    Typeface("DejaVuSans-BoldOblique.ttf", bold=True),
    Typeface("DejaVuSansMono.ttf"),
    Typeface("DejaVuSerif.ttf"),
    Typeface("DejaVuSerif-Bold.ttf", bold=True),
    Typeface("DejaVuSerif-Italic.ttf"),
    Typeface("STIXGeneral.ttf"),
    Typeface("STIXGeneral.ttf", 0x1D7E2),
    Typeface("STIXGeneral.ttf", 0x1D7EC, bold=True),
    Typeface("STIXGeneral.ttf", 0x1D7F6),
    Typeface("STIXGeneralItalic.ttf"),
    Typeface("STIXGeneralBolIta.ttf", bold=True),
    Typeface("DejaVuSans.ttf", 0x1D7D8),
    Typeface("cmr10.ttf"),
    Typeface("cmb10.ttf", bold=True),
    Typeface("cmtt10.ttf"),
    Typeface("cmti10.ttf"),
)


@functools.cache
def font_digit(typeface: Typeface, digit: int, boldness: int = 0) -> Image.Image:
    """Returns a digit as an image of mode L, white on black and GLYPH_HEIGHT tall.

    All digits of a typeface have the same scale and base line. Strokes grow by `boldness` pixels on
    each side.
    """
    font = _font_of_height(typeface)
    top, bottom = _vertical_extent(font, typeface)
    left, _, right, _ = font.getbbox(chr(typeface.zero + digit))
    image = Image.new("L", (math.ceil(right - left) + 2, bottom - top), 0)
    ImageDraw.Draw(image).text((1 - left, -top), chr(typeface.zero + digit), fill=255, font=font)
    width = max(1, round(image.width * GLYPH_HEIGHT / image.height))
    glyph = image.resize((width, GLYPH_HEIGHT), Image.Resampling.BILINEAR)
    return glyph.filter(ImageFilter.MaxFilter(2 * boldness + 1)) if boldness else glyph


@functools.cache
def _font_of_height(typeface: Typeface) -> ImageFont.FreeTypeFont:
    """Opens a typeface at about the size at which its digits are GLYPH_HEIGHT tall."""
    size = GLYPH_HEIGHT * 1.38
    if typeface.file:
        return ImageFont.truetype(str(_FONT_FOLDER / typeface.file), size)
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font


def _vertical_extent(font: ImageFont.FreeTypeFont, typeface: Typeface) -> tuple[int, int]:
    boxes = [font.getbbox(chr(typeface.zero + digit)) for digit in range(10)]
    return math.floor(min(box[1] for box in boxes)), math.ceil(max(box[3] for box in boxes))


@dataclass(frozen=True)
class Pen:
    """How one hand draws digits; lengths are shares of the digit's height.

    Attributes:
      thickness: of the stroke.
      width: of a digit between the middles of its strokes.
      squareness: exponent of the bowls' superellipse: 2 is an ellipse, 5 nearly a rectangle.
      waist: where the bowls of 3, 5, 6, 8 and 9 meet, from the top.
      open_four: whether the 4 is open at its top.
      flat_three: whether the 3 has a flat top.
      barred_seven: whether the 7 has a bar.
      flag: length of the 1's flag; 0 for none.
      foot: whether the 1 stands on a foot.
      straight_six: whether the stems of 6 and 9 are straight.
    """

    thickness: float
    width: float
    squareness: float
    waist: float
    open_four: bool
    flat_three: bool
    barred_seven: bool
    flag: float
    foot: bool
    straight_six: bool

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Pen":
        """Draws a pen at random."""
        return cls(
            thickness=float(rng.uniform(0.07, 0.24)),
            width=float(rng.uniform(0.32, 0.6)),
            squareness=float(rng.choice([2.0, 2.2, 2.6, 3.5, 5.0])),
            waist=float(rng.uniform(0.42, 0.52)),
            open_four=bool(rng.random() < 0.3),
            flat_three=bool(rng.random() < 0.2),
            barred_seven=bool(rng.random() < 0.12),
            flag=float(rng.choice([0.0, 0.15, 0.25, 0.35])),
            foot=bool(rng.random() < 0.25),
            straight_six=bool(rng.random() < 0.35),
        )


def pen_digit(pen: Pen, digit: int) -> Image.Image:
    """Returns a digit as :func:`font_digit` does, drawn with a pen."""
    strokes = _skeleton(pen, digit)
    thickness = pen.thickness * GLYPH_HEIGHT
    scale = GLYPH_HEIGHT - thickness - 2
    points = np.concatenate(strokes)
    left = points[:, 0].min()
    width = math.ceil(np.ptp(points[:, 0]) * scale + thickness + 2)
    image = Image.new("L", (width, GLYPH_HEIGHT), 0)
    draw = ImageDraw.Draw(image)
    radius = thickness / 2
    for stroke in strokes:
        placed = (stroke - [left, 0.0]) * scale + radius + 1
        draw.line(
            [tuple(point) for point in placed], fill=255, width=round(thickness), joint="curve"
        )
        for x, y in (placed[0], placed[-1]):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return image


def _skeleton(pen: Pen, digit: int) -> list[np.ndarray]:
    """Returns the strokes of a digit, points x, y in a box of the pen's width and height 1."""
    w, waist = pen.width, pen.waist
    upper = functools.partial(_arc, w / 2, waist / 2, w * 0.46, waist / 2, pen.squareness)
    lower = functools.partial(_arc, w / 2, (1 + waist) / 2, w / 2, (1 - waist) / 2, pen.squareness)
    match digit:
        case 0:
            return [_arc(w / 2, 0.5, w / 2, 0.5, pen.squareness, 0, 360)]
        case 1:
            strokes = [_line((w / 2, 0), (w / 2, 1))]
            if pen.flag:
                strokes[0] = _line(
                    (w / 2 - pen.flag * 0.7, pen.flag * 0.75), (w / 2, 0), (w / 2, 1)
                )
            return [*strokes, *([_line((w * 0.15, 1), (w * 0.85, 1))] if pen.foot else [])]
        case 2:
            top = _arc(w / 2, 0.28, w / 2, 0.28, pen.squareness, 190, 385)
            return [np.concatenate([top, _line((0, 1), (w, 1))])]
        case 3 if pen.flat_three:
            return [np.concatenate([_line((0, 0), (w, 0), (w * 0.45, waist)), lower(-90, 160)])]
        case 3:
            return [upper(-160, 90), lower(-90, 160)]
        case 4 if pen.open_four:
            return [
                _line((w * 0.1, 0), (0, 0.62), (w, 0.62)),
                _line((w * 0.75, 0.25), (w * 0.75, 1)),
            ]
        case 4:
            return [_line((w * 0.75, 1), (w * 0.75, 0), (0, 0.68), (w * 1.05, 0.68))]
        case 5:
            return [_line((w * 0.92, 0), (w * 0.12, 0), (w * 0.04, waist * 1.1)), lower(-150, 150)]
        case 6 if pen.straight_six:
            return [lower(0, 360), _line((w * 0.7, 0), (w * 0.04, 0.5 + waist / 3))]
        case 6:
            stem = _arc(w * 0.95, 0.62, w * 0.95, 0.62, 2.0, 180, 265)
            return [lower(0, 360), stem]
        case 7:
            bar = [_line((w * 0.2, 0.5), (w * 0.85, 0.5))] if pen.barred_seven else []
            return [_line((0, 0), (w, 0), (w * 0.3, 1)), *bar]
        case 8:
            return [upper(0, 360), lower(0, 360)]
        case 9:
            return [[w, 1.0] - stroke for stroke in _skeleton(pen, 6)]
    raise ValueError(f"digit must be 0 to 9, got {digit}")


def _line(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points, np.float64)


def _arc(
    x: float, y: float, rx: float, ry: float, exponent: float, start: float, stop: float
) -> np.ndarray:
    """Returns points of a superellipse; angles in degrees, clockwise from the right."""
    angles = np.radians(np.linspace(start, stop, max(6, int(abs(stop - start) / 18))))
    cosine, sine = np.cos(angles), np.sin(angles)
    power = 2.0 / exponent
    return np.stack(
        [
            x + rx * np.sign(cosine) * np.abs(cosine) ** power,
            y + ry * np.sign(sine) * np.abs(sine) ** power,
        ],
        axis=1,
    )

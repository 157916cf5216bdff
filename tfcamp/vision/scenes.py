"""What numbers are mounted on: walls, plates, shadows and light, for `tfcamp.vision.render`."""

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

TRAIN_WALLS = (
    "plain",
    "gradient",
    "cloudy",
    "siding",
    "bricks",
    "stucco",
    "leaves",
    "grain",
    "cracks",
)
TEST_WALLS = ("planks", "marble")
TRAIN_PLATES = ("none", "rectangle", "framed")
TEST_PLATES = ("none", "oval")

Pixels = npt.NDArray[np.floating]

# Paints, enamels, bricks, brass.
_COLOURED = np.array(
    [
        (0.08, 0.15, 0.40),
        (0.10, 0.25, 0.55),
        (0.05, 0.25, 0.15),
        (0.50, 0.12, 0.10),
        (0.55, 0.35, 0.25),
        (0.35, 0.25, 0.15),
        (0.75, 0.60, 0.25),
        (0.80, 0.75, 0.60),
    ]
)


def draw_scene(
    rng: np.random.Generator,
    digits: Image.Image,
    corners: npt.NDArray[np.float64],
    *,
    held_out: bool,
    least_contrast: float,
) -> Pixels:
    """Puts wall, plate, shadow and digits together.

    Args:
      rng: what everything is drawn with.
      digits: mask of mode L, white where the digits are.
      corners: float64[4 N, 2], x and y of the corners of each digit.
      held_out: whether to take the walls and plates of the test split.
      least_contrast: the least difference in lightness between digits and ground, in [0, 0.5].

    Returns:
      float32[H, W, 3] in [0, 1].
    """
    size = digits.size
    walls, plates = (TEST_WALLS, TEST_PLATES) if held_out else (TRAIN_WALLS, TRAIN_PLATES)
    ground = _ground_colour(rng)
    ink = _ink_colour(rng, ground, least_contrast)
    # However rough the wall, the digits can be told from it.
    roughness = min(0.2, 0.4 * abs(float(ink.mean() - ground.mean())))
    scene = _wall(rng, walls[rng.integers(len(walls))], size, ground, roughness)
    plate = plates[rng.integers(len(plates))]
    if plate != "none":
        scene = _put_plate(rng, plate, scene, corners, ground, ink)
    if rng.random() < 0.3:
        scene = _put_strokes(rng, scene, ground, ink)
    coverage = _coverage(digits)
    if rng.random() < 0.35:
        # Digits that stand off the wall throw a shadow, or show a lit edge.
        across, down = (int(step) for step in rng.integers(-3, 4, 2))
        shade = np.roll(coverage, (down, across), (0, 1)) * rng.uniform(0.2, 0.8)
        edge = np.float32(rng.choice([0.0, 0.0, 1.0]))
        scene += (edge - scene) * shade * (0.4 if edge else 0.8)
    if rng.random() < 0.1:
        outline = _coverage(digits.filter(ImageFilter.MaxFilter(5)))
        scene += (np.float32(rng.uniform(0, 1)) - scene) * outline
    # Paint wears off and metal shines: the ink is not even either.
    worn = ink + rng.normal(0, 0.06) * _clouds(rng, size, 3)
    scene += (worn - scene) * coverage * rng.uniform(0.8, 1.0)
    return _light(rng, scene)


def _coverage(mask: Image.Image) -> Pixels:
    return (np.asarray(mask, np.float32) / 255.0)[..., np.newaxis]


def _ground_colour(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Draws the colour behind the digits: mostly a grey with a tint."""
    if rng.random() < 0.25:
        colour = _COLOURED[rng.integers(len(_COLOURED))] * rng.uniform(0.6, 1.3)
        # Dust and haze: few walls are as colourful as their paint was.
        colour += (colour.mean() - colour) * rng.uniform(0.0, 0.7)
    else:
        colour = np.full(3, rng.uniform(0.08, 0.92)) + rng.normal(0, 0.025, 3)
    return np.clip(colour, 0.02, 0.98)


def _ink_colour(
    rng: np.random.Generator, ground: npt.NDArray[np.float64], least_contrast: float
) -> npt.NDArray[np.float64]:
    """Draws the digits' colour: lighter or darker than the ground, by little or by much."""
    mean = ground.mean()
    difference = min(max(0.2 + rng.gamma(2.0, 0.13), least_contrast), 0.95)
    lighter = rng.random() < 0.5
    room = 1 - mean if lighter else mean
    if room < difference:
        lighter = mean < 0.5
    level = mean + difference if lighter else mean - difference
    if rng.random() < 0.15:
        tint = _COLOURED[rng.integers(len(_COLOURED))]
        tint = (tint - tint.mean()) * rng.uniform(0.2, 1.0)
    else:
        tint = rng.normal(0, 0.025, 3)
    return np.clip(np.clip(level, 0.02, 0.98) + tint, 0.0, 1.0)


def _clouds(
    rng: np.random.Generator, size: tuple[int, int], rows: int, columns: int | None = None
) -> Pixels:
    """Smooth noise float32[H, W, 1] in about [-1, 1] of some cells; twice as many across."""
    cells = (rows, columns or 2 * rows)
    grid = Image.fromarray(rng.uniform(-1, 1, cells).astype(np.float32))
    return np.asarray(grid.resize(size, Image.Resampling.BICUBIC))[..., np.newaxis]


def _wall(
    rng: np.random.Generator,
    kind: str,
    size: tuple[int, int],
    ground: npt.NDArray[np.float64],
    roughness: float,
) -> Pixels:
    """Draws what the number is mounted on; lightness varies by up to `roughness` each way."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle = rng.normal(0, 0.12)
    x, y = x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)
    phase, strength = rng.uniform(0, 100), rng.uniform(0.15, 1.0) * roughness * rng.choice([-1, 1])
    match kind:
        case "plain":
            relief = np.zeros_like(x)
        case "gradient":
            turn = rng.uniform(0, 2 * math.pi)
            relief = (x * math.cos(turn) + y * math.sin(turn)) / max(size) - 0.3
        case "cloudy":
            relief = _clouds(rng, size, int(rng.integers(2, 6)))[..., 0]
        case "siding":
            relief = ((y + phase) / rng.uniform(8, 30)) % 1.0 - 0.5
        case "bricks":
            tall, wide = rng.uniform(12, 30), rng.uniform(25, 60)
            row = np.floor((y + phase) / tall)
            across = ((x + phase + 0.5 * wide * (row % 2)) / wide) % 1.0
            mortar = ((((y + phase) / tall) % 1.0) < 0.15) | (across < 0.07)
            relief = np.where(mortar, 1.0, 0.15 * np.sin(row * 2.4))
        case "stucco":
            relief = rng.normal(0, 0.6, (height, width))
        case "leaves":
            relief = np.tanh(6 * _clouds(rng, size, int(rng.integers(4, 10)))[..., 0])
        case "grain":
            lines, along = int(rng.integers(6, 20)), int(rng.integers(2, 4))
            rows, columns = (lines, along) if rng.random() < 0.5 else (along, 2 * lines)
            relief = np.tanh(3 * _clouds(rng, size, rows, columns)[..., 0])
        case "cracks":
            ridges = np.abs(_clouds(rng, size, int(rng.integers(4, 9)))[..., 0])
            relief = 1 - 2 * np.minimum(1, 2 * ridges)
        case "planks":
            across = (x + phase) / rng.uniform(10, 40)
            relief = np.where(across % 1.0 < 0.12, -1.0, 0.3 * np.sin(np.floor(across) * 1.7))
        case "marble":
            bend = _clouds(rng, size, 4)[..., 0]
            relief = np.sin((x + y + phase) / rng.uniform(6, 15) + 4 * bend)
        case _:
            raise ValueError(f"unknown wall {kind!r}")
    wall = ground + (strength * relief)[..., np.newaxis]
    return np.clip(wall, 0, 1).astype(np.float32)


def _put_plate(
    rng: np.random.Generator,
    kind: str,
    scene: Pixels,
    corners: npt.NDArray[np.float64],
    ground: npt.NDArray[np.float64],
    ink: npt.NDArray[np.float64],
) -> Pixels:
    """Lays a plate of the ground's colour under the digits and another colour around it."""
    centre = corners.mean(0)
    outline = centre + (corners - centre) * rng.uniform(1.15, 1.5, 2)
    left, top, right, bottom = bounds_of(outline)
    # The plate leans as the number does.
    lean = (corners[-3, 1] - corners[0, 1]) / 2
    points = [
        (left, top - lean),
        (right, top + lean),
        (right, bottom + lean),
        (left, bottom - lean),
    ]
    if kind == "oval":
        turns = np.linspace(0, 2 * math.pi, 24, endpoint=False)
        radii = np.array([right - left, bottom - top]) / 2 * 1.1
        points = [tuple(centre + radii * (math.cos(t), math.sin(t))) for t in turns]
    mask = Image.new("L", (scene.shape[1], scene.shape[0]), 0)
    draw = ImageDraw.Draw(mask)
    draw.polygon(points, fill=255)
    around = np.clip(_ground_colour(rng), 0, 1) + (scene - ground)
    scene = around + (scene - around) * _coverage(mask)
    if kind == "framed":
        frame = Image.new("L", mask.size, 0)
        line = [*points, points[0]]
        ImageDraw.Draw(frame).line(line, fill=255, width=int(rng.integers(1, 5)))
        colour = ink if rng.random() < 0.6 else _ground_colour(rng)
        scene = scene + (colour - scene) * _coverage(frame)
    return scene.astype(np.float32)


def _put_strokes(
    rng: np.random.Generator,
    scene: Pixels,
    ground: npt.NDArray[np.float64],
    ink: npt.NDArray[np.float64],
) -> Pixels:
    """Draws cables, twigs, cracks and edges behind the digits: not every stroke is a digit's."""
    height, width = scene.shape[:2]
    mask = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(mask)
    for _ in range(rng.integers(1, 4)):
        # A quadratic Bezier curve (nearly straight, often) through the picture.
        begin, end = rng.uniform(-0.2, 1.2, (2, 2)) * (width, height)
        bend = (begin + end) / 2 + rng.normal(0, 0.2, 2) * height * rng.integers(0, 2)
        t = np.linspace(0, 1, 16)[:, np.newaxis]
        curve = (1 - t) ** 2 * begin + 2 * t * (1 - t) * bend + t**2 * end
        points = [(float(x), float(y)) for x, y in curve]
        draw.line(points, fill=255, width=int(rng.integers(1, 6)))
    colour = ground + (ink - ground) * rng.uniform(-0.6, 0.8)
    return scene + (np.clip(colour, 0, 1) - scene) * _coverage(mask) * rng.uniform(0.4, 1.0)


def _light(rng: np.random.Generator, scene: Pixels) -> Pixels:
    """Lets light fall unevenly: a gradient, perhaps the edge of a shadow, a tint."""
    height, width = scene.shape[:2]
    turn = rng.uniform(0, 2 * math.pi)
    y, x = np.mgrid[-0.5 : 0.5 : height * 1j, -0.5 : 0.5 : width * 1j].astype(np.float32)
    across = x * math.cos(turn) + y * math.sin(turn)
    light = 1.0 + rng.normal(0, 0.15) * across
    if rng.random() < 0.12:
        edge = np.clip((across - rng.uniform(-0.4, 0.4)) * rng.uniform(3, 40), 0, 1)
        light = light * (1.0 - rng.uniform(0.2, 0.6) * edge)
    tint = 1.0 + rng.normal(0, 0.04, 3)
    return np.clip(scene * light[..., np.newaxis] * tint, 0, 1).astype(np.float32)


def bounds_of(points: npt.NDArray[np.float64]) -> list[float]:
    """Returns left, top, right and bottom of points float64[N, 2]."""
    return [*points.min(0), *points.max(0)]

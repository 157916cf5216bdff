"""Confusion, calibration and class scores: the right numbers, readable, inside the frame."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from tfcamp.figures import classification, figure_svg
from tfcamp.figures.classification import calibration, class_scores, confusion_matrix
from tfcamp.figures.inline import inline_svg
from tfcamp.figures.style import SHADES, drawing
from tfcamp.figures.tables import class_table
from tfcamp.metrics.classification import CalibrationBin, ClassScores

BINS = (
    CalibrationBin(0.0, 0.5, 0, 0.0, 0.0),
    CalibrationBin(0.5, 0.75, 20, 0.7, 0.5),
    CalibrationBin(0.75, 1.0, 80, 0.9, 0.95),
)
SCORES = (
    ClassScores("财经", 0.5, 1.0, 2 / 3, 1),
    ClassScores("sport", 1.0, 0.9, 0.947, 10),
    ClassScores("never seen", 0.0, 0.0, 0.0, 0),
)


def texts(figure: Figure) -> list[str]:
    return [it.get_text() for it in figure.findobj(Text) if isinstance(it, Text) and it.get_text()]


def assert_text_is_inside(figure: Figure) -> None:
    FigureCanvasAgg(figure)
    with drawing():
        figure.draw_without_rendering()
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if text.get_text() and text.get_visible():
            box = text.get_window_extent()
            frame = figure.bbox
            message = f"{text.get_text()!r} at {box} is outside {frame}"
            assert box.x0 >= 0 and box.y0 >= 0, message
            assert box.x1 <= frame.x1 and box.y1 <= frame.y1, message


def test_confusion_shows_counts_and_shares_of_the_row():
    figure = confusion_matrix(np.array([[3, 1, 0], [0, 1000, 0], [0, 0, 0]]), ["财经", "b", "c"])
    shown = texts(figure)
    for expected in ("财经", "3", "75 %", "1", "25 %", "1,000", "100 %", "0 %"):
        assert expected in shown
    assert "small: share of the row · deepest orange: 25 %" in shown
    assert shown.count("0") == 1, "an empty cell off the diagonal stays empty"


def test_confusion_of_small_shares_keeps_a_digit():
    shown = texts(confusion_matrix(np.array([[9960, 40], [1, 99999]]), ["a", "b"]))
    assert {"0.4 %", "<0.1 %"} <= set(shown)


def test_confusion_depth_is_the_share_and_a_perfect_model_has_no_orange():
    boxes = confusion_matrix(np.diag([5, 5]), ["a", "b"]).axes[0].patches
    assert [box.get_alpha() for box in boxes] == [1, 0, 0, 1]
    boxes = confusion_matrix(np.array([[8, 2], [1, 9]]), ["a", "b"]).axes[0].patches
    assert [box.get_alpha() for box in boxes] == pytest.approx([0.8, 0.6, 0.3, 0.9])


@pytest.mark.parametrize("num_classes", [1, 2, 10, 20, 31, 64, 65, 200])
@pytest.mark.parametrize("name", ["c{}", "entertainment {}"])
def test_confusion_names_stay_inside_the_frame(num_classes, name):
    classes = [name.format(i) for i in range(num_classes)]
    assert_text_is_inside(confusion_matrix(np.eye(num_classes, dtype=int) * 12345, classes))


def test_confusion_of_many_classes_is_an_image():
    confusion = np.diag(np.full(31, 6))
    confusion[0, 2], confusion[1, 0], confusion[30] = 2, 6, 0
    figure = confusion_matrix(confusion, [f"c{i}" for i in range(31)])
    (image,) = figure.axes[0].images
    pixels = np.asarray(image.get_array())
    assert pixels.shape == (31, 31, 4) and not figure.axes[0].patches
    # The share of the row; of mistakes by that of the largest, which is a half.
    assert pixels[[0, 0, 0, 1, 1, 30], [0, 1, 2, 0, 1, 30], 3].tolist() == [
        *(191, 0, 128, 255, 128, 0)
    ]
    fill, vermilion = (bytes.fromhex(SHADES[name].light[1:]) for name in ("fill", "vermilion"))
    assert bytes(pixels[0, 0, :3]) == fill and bytes(pixels[0, 2, :3]) == vermilion
    assert tuple(image.get_extent()) == (0, 31, 31, 0)
    shown = texts(figure)
    assert {"c0", "c30"} <= set(shown) and "6" not in shown
    assert "share of the row · deepest orange: 50 %" in shown


def test_confusion_of_a_hundred_classes_is_a_small_file():
    """Drawn cell by cell, it had 10,000 boxes, and 4 MB."""
    noise = np.random.default_rng(0).integers(0, 50, (100, 100))
    figure = confusion_matrix(noise, [f"class {i}" for i in range(100)])
    svg = figure_svg(figure)
    assert len(svg) < 100_000 and svg.count("<image") == 1
    inlined, _ = inline_svg(svg, "a-", "confusion")
    assert 'href="data:image/png;' in inlined and "image-rendering:pixelated" in inlined


def test_more_classes_than_names_fit_have_numbers():
    shown = texts(confusion_matrix(np.eye(65, dtype=int), [f"c{i}" for i in range(65)]))
    assert {"0", "5", "60"} <= set(shown) and not {"c0", "1", "65"} & set(shown)
    assert "classes by number, from 0 · share of the row · deepest orange: 0 %" in shown
    shown = texts(confusion_matrix(np.eye(64, dtype=int), [f"c{i}" for i in range(64)]))
    assert {"c0", "c1", "c63"} <= set(shown)


def test_confusion_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"2 classes do not fit a matrix of shape \(3, 3\)"):
        confusion_matrix(np.eye(3), ["a", "b"])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_letters_in_cells_can_be_read_at_every_depth(theme):
    def rgb(name: str) -> np.ndarray:
        color = getattr(SHADES[name], theme)
        return np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])

    def luminance(color: np.ndarray) -> float:
        linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    def contrast(fill: str, letters: str, depth: float) -> float:
        mixed = depth * rgb(fill) + (1 - depth) * rgb("paper")
        darker, lighter = sorted((luminance(mixed), luminance(rgb(letters))))
        return (lighter + 0.05) / (darker + 0.05)

    for depth in np.linspace(0, 1, 101):
        letters = "on_fill" if depth > classification._DEEP else "ink"
        assert contrast("fill", letters, depth) >= 3.9
    assert contrast("vermilion", "ink", classification._DEEPEST_MISTAKE) >= 3.9
    for name in ("ink", "muted", "blue", "vermilion", "green", "purple", "ochre", "slate"):
        assert contrast("paper", name, 1) >= 4.5, f"{name} on paper"


def test_calibration_draws_the_filled_bins():
    figure = calibration(BINS, error=0.0412)
    assert "0.0412" in texts(figure)
    line = figure.axes[0].lines[1]
    assert np.asarray(line.get_xydata()).tolist() == [[0.7, 0.5], [0.9, 0.95]]
    heights = [bar.get_height() for bar in figure.axes[1].patches if isinstance(bar, Rectangle)]
    assert heights == pytest.approx([0.2, 0.8])
    assert_text_is_inside(figure)
    with pytest.raises(ValueError, match="all 1 calibration bins are empty"):
        calibration(BINS[:1])


def test_class_scores_rank_the_classes():
    figure = class_scores(SCORES)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["sport", "财经", "never seen"]
    assert {"0.947", "0.667", "0.000"} <= set(texts(figure))
    with pytest.raises(ValueError, match="no classes"):
        class_scores([])


def test_class_scores_names_stay_inside_the_frame():
    assert_text_is_inside(class_scores(SCORES[1:]))


@pytest.mark.parametrize("name", ["α" * 40, "word " * 40, "entertainment" * 15])
def test_long_names_are_shortened(name):
    # As wide as Han is α counted, which the font of the tests has.
    for figure in (
        class_scores([ClassScores(name, 0.5, 1.0, 2 / 3, 1), *SCORES[1:]]),
        confusion_matrix(np.eye(2, dtype=int), [name, "b"]),
        confusion_matrix(np.eye(40, dtype=int), [name] * 40),
    ):
        assert_text_is_inside(figure)
        assert figure.axes[0].get_window_extent().width > 80
        (drawn, *_) = [text for text in texts(figure) if text.startswith(name[:4])]
        assert drawn.endswith("…") and drawn[:-1] == name[: len(drawn) - 1]


def test_class_table_has_a_row_for_each_class():
    table = class_table(SCORES)
    assert list(table.header) == ["class", "precision", "recall", "F1", "rows"]
    assert [row[0] for row in table.rows] == ["财经", "sport", "never seen"]

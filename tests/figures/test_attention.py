"""Attention maps: the right cell is deep, both scripts are drawn, and nothing is cut off."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tests.figures.test_classification import assert_text_is_inside, texts
from tfcamp.figures import save
from tfcamp.figures.attention import attention_heads, attention_map, show_piece
from tfcamp.figures.save import figure_svg, save_figure

GERMAN = ["▁Ein", "▁Hund", "▁läuft", "▁über", "▁Straßenbahnschienen", "<0xF0>", ".", "</s>"]
CHINESE = ["▁", "一只", "狗", "跑过", "电车轨道", "。", "</s>"]
ENGLISH = ["▁A", "▁dog", "</s>"]

# Where text stands is measured, whatever font is here.
no_font_needed = pytest.mark.filterwarnings("ignore:Glyph .* missing from:UserWarning")


def random_weights(*shape: int) -> np.ndarray:
    weights = np.random.default_rng(0).random(shape)
    return weights / weights.sum(-1, keepdims=True)


def depths(figure: Figure, panel: int = 0) -> dict[tuple[int, int], float]:
    """How deep the cell of a row and column is filled."""
    boxes = [box for box in figure.axes[panel].patches if isinstance(box, Rectangle)]
    return {(int(box.get_y()), int(box.get_x())): box.get_alpha() or 0.0 for box in boxes}


def test_the_cell_of_a_target_and_a_source_piece_is_as_deep_as_its_weight():
    weights = np.array([[0.8, 0.2, 0.0], [0.0, 0.4, 0.6]])
    figure = attention_map(ENGLISH, ["狗", "</s>"], weights)
    assert depths(figure) == pytest.approx({(0, 0): 1.0, (0, 1): 0.25, (1, 1): 0.5, (1, 2): 0.75})
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["␣A", "␣dog", "</s>"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["狗", "</s>"]
    assert axes.get_ylim() == (2, 0), "the first target piece is at the top"
    assert "deepest: 80 % of the attention" in texts(figure)


def test_pieces_are_shown_as_people_read_them():
    shown = [show_piece(piece) for piece in ("▁Straße", "▁", "狗", "<0xE4>", "a\x00", "▁▁")]
    assert shown == ["␣Straße", "␣", "狗", "<0xE4>", "a\ufffd", "␣␣"]


@no_font_needed
@pytest.mark.parametrize(
    ("source", "target"),
    [
        (GERMAN, CHINESE),
        (CHINESE, GERMAN),
        (ENGLISH, ["</s>"]),
        (["▁Ja"], CHINESE * 2),
        (GERMAN * 4, ENGLISH),
    ],
)
def test_all_text_is_inside_the_frame(source, target):
    assert_text_is_inside(attention_map(source, target, random_weights(len(target), len(source))))


def test_names_that_are_wider_than_a_column_are_slanted():
    def angle(source: list[str]) -> float:
        figure = attention_map(source, ["</s>"], random_weights(1, len(source)))
        return figure.axes[0].get_xticklabels()[0].get_rotation()

    assert angle(["狗", "一只", "</s>"]) == 0
    assert angle(["狗", "电车轨道", "</s>"]) == 45
    assert angle(GERMAN) == 45


def test_both_scripts_stand_in_the_svg():
    svg = figure_svg(attention_map(GERMAN, CHINESE, random_weights(len(CHINESE), len(GERMAN))))
    for text in ("␣läuft", "␣Straßenbahnschienen", "&lt;0xF0&gt;", "电车轨道", "。"):
        assert f">{text}</text>" in svg


def test_both_scripts_are_drawn_where_a_font_is_found(tmp_path):
    if not save._installed_chinese_fonts():
        pytest.skip("no Chinese font on this machine")
    figure = attention_map(GERMAN, CHINESE, random_weights(len(CHINESE), len(GERMAN)))
    saved = save_figure(figure, tmp_path, "attention")
    assert saved.note is None and saved.png is not None


def test_umlauts_and_the_open_box_need_no_chinese_font(tmp_path):
    """The font that matplotlib brings has them, or a figure of German pieces had no PNG."""
    figure = attention_map(GERMAN, ENGLISH, random_weights(len(ENGLISH), len(GERMAN)))
    assert save_figure(figure, tmp_path, "attention").note is None


def test_each_head_has_a_map_on_one_scale():
    weights = np.zeros((2, 3, 2, 3))
    weights[0, 0] = [[0.8, 0, 0], [0, 0.4, 0]]
    weights[1, 2] = [[0, 0, 0.2], [0, 0, 0]]
    figure = attention_heads(ENGLISH, ["狗", "</s>"], weights)
    assert len(figure.axes) == 6
    assert depths(figure, 0) == pytest.approx({(0, 0): 1.0, (1, 1): 0.5})
    assert depths(figure, 5) == pytest.approx({(0, 2): 0.25})
    for name in ("layer 1", "layer 2", "head 1", "head 2", "head 3"):
        assert texts(figure).count(name) == 1
    # Source pieces stand above the upper maps, target pieces beside those at the left.
    svg = figure_svg(figure)
    assert (svg.count(">␣dog<"), svg.count(">狗<")) == (3, 2)


def test_layers_and_heads_can_be_chosen():
    weights = np.zeros((2, 3, 2, 3))
    weights[1, 2, 0, 0] = weights[1, 0, 1, 1] = 0.5
    figure = attention_heads(ENGLISH, ["狗", "</s>"], weights, layers=[1], heads=[2, 0])
    assert [depths(figure, panel) for panel in (0, 1)] == [{(0, 0): 1.0}, {(1, 1): 1.0}]
    names = [text for text in texts(figure) if "layer" in text or "head" in text]
    assert sorted(names) == ["head 1", "head 3", "layer 2"]
    with pytest.raises(ValueError, match=r"nothing to draw of \[\] layers and \[0, 1, 2\] heads"):
        attention_heads(ENGLISH, ["狗", "</s>"], weights, layers=[])


@no_font_needed
@pytest.mark.parametrize("source", [GERMAN, CHINESE, ["▁Ja"]])
def test_maps_of_heads_do_not_touch_and_their_text_is_inside(source):
    figure = attention_heads(source, CHINESE, random_weights(2, 3, len(CHINESE), len(source)))
    assert_text_is_inside(figure)
    boxes = [axes.get_position() for axes in figure.axes]
    assert all(right.x0 > left.x1 for left, right in pairwise(boxes[:3]))
    assert all(lower.y1 < upper.y0 for upper, lower in pairwise(boxes[::3]))


def test_no_attention_is_drawn_as_none():
    figure = attention_map(ENGLISH, ["狗"], np.zeros((1, 3)))
    assert depths(figure) == {}
    assert "deepest: 0 % of the attention" in texts(figure)


def test_equal_figures_make_equal_bytes():
    weights = random_weights(len(CHINESE), len(GERMAN))
    assert figure_svg(attention_map(GERMAN, CHINESE, weights)) == figure_svg(
        attention_map(GERMAN, CHINESE, weights)
    )


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros((3, 1)), r"1 target and 3 source pieces .* shape \[1, 1, 3, 1\]"),
        (np.zeros((0, 3)), "do not fit"),
        (np.array([[0.5, 0.5, 3.0]]), "are they scores before the softmax"),
        (np.array([[0.5, -0.5, 0.0]]), r"must be in \[0, 1\]"),
        (np.array([[0.5, np.nan, 0.0]]), r"must be in \[0, 1\]"),
    ],
)
def test_weights_that_are_none_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        attention_map(ENGLISH, ["狗"], weights)

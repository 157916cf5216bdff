"""Figures as files: text stays text, equal figures make equal bytes, no empty boxes."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure

from tfcamp.errors import UserError
from tfcamp.figures import save
from tfcamp.figures.save import figure_svg, save_figure
from tfcamp.figures.style import drawing, new_figure, printable, text_width


def figure_with(text: str) -> Figure:
    with drawing():
        figure = new_figure(200, 100)
        figure.text(0.1, 0.5, printable(text))
    return figure


def svg_texts(svg: str) -> list[str]:
    return [it.text or "" for it in ElementTree.fromstring(svg).iter() if it.tag.endswith("}text")]


@pytest.fixture
def no_chinese_font(monkeypatch):
    """A machine that has the fonts of matplotlib and no other."""
    folder = str(Path(matplotlib.get_data_path(), "fonts"))
    entries = [it for it in font_manager.fontManager.ttflist if it.fname.startswith(folder)]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", entries)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])


def test_svg_holds_text_and_asks_for_the_readers_fonts():
    svg = figure_svg(figure_with("体育 A<B & $5 or $6"))
    assert svg_texts(svg) == ["体育 A<B & $5 or $6"]
    assert "font-family: 'Noto Sans CJK SC', 'Source Han Sans SC', 'PingFang SC'" in svg
    assert "DejaVu" not in svg


def test_control_characters_do_not_break_the_svg():
    assert svg_texts(figure_svg(figure_with("a\x00b\u202e\ud800\nc"))) == ["a\ufffdb\ufffd\ufffd c"]


def test_equal_figures_make_equal_files_without_a_date(tmp_path):
    for name in ("a", "b"):
        save_figure(figure_with("macro-F1"), tmp_path, name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert "dc:date" not in (tmp_path / "a.svg").read_text("utf-8")


def test_saving_leaves_the_figure_as_it_was(tmp_path):
    figure = figure_with("macro-F1")
    before = figure_svg(figure)
    save_figure(figure, tmp_path, "a")
    assert figure_svg(figure) == before


def test_without_a_font_there_is_no_png_and_one_line_says_what_to_install(
    tmp_path, no_chinese_font
):
    (tmp_path / "a.png").write_bytes(b"of an earlier run")
    saved = save_figure(figure_with("体育"), tmp_path / "", "a")
    assert saved.png is None and not (tmp_path / "a.png").exists()
    assert saved.svg.exists()
    assert saved.note is not None and "\n" not in saved.note
    assert "apt install fonts-noto-cjk" in saved.note
    assert save_figure(figure_with("财经"), tmp_path, "b").note == saved.note, (
        "it would be told twice"
    )


def test_text_that_any_font_can_show_needs_no_chinese_one(tmp_path, no_chinese_font):
    saved = save_figure(figure_with("macro-F1 – 92 %"), tmp_path / "figures", "a")
    assert saved.note is None and saved.png is not None
    assert saved.png.read_bytes().startswith(b"\x89PNG")


def test_a_font_installed_after_matplotlib_made_its_list_is_found(no_chinese_font, monkeypatch):
    path = Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSerif.ttf")
    manager = font_manager.fontManager
    others = [entry for entry in manager.ttflist if entry.name != "DejaVu Serif"]
    monkeypatch.setattr(manager, "ttflist", others)
    monkeypatch.setattr(save, "_FONTS", ("No Such Font", "DejaVu Serif"))
    assert save._installed_chinese_fonts() == []
    broken = __file__
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [broken, str(path)])
    assert save._installed_chinese_fonts() == ["DejaVu Serif"]


def test_a_character_that_no_font_has_leaves_the_png_out(tmp_path, monkeypatch):
    monkeypatch.setattr(save, "_FONTS", ("DejaVu Serif",))
    saved = save_figure(figure_with("体育"), tmp_path, "a")
    assert saved.png is None
    assert saved.note == "no font here has all of 体育: no PNG of this figure, but its SVG"


def test_png_shows_chinese_where_a_font_is_found(tmp_path):
    if not save._installed_chinese_fonts():
        pytest.skip("no Chinese font on this machine")
    pngs = []
    for text in ("体育", "财经"):
        saved = save_figure(figure_with(text), tmp_path, text)
        assert saved.note is None and saved.png is not None
        pngs.append(saved.png.read_bytes())
    assert pngs[0] != pngs[1], "empty boxes look the same whatever they stand for"


def test_a_folder_that_cannot_be_made_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"file.* cannot be written"):
        save_figure(figure_with("a"), tmp_path / "file", "a")


def test_text_is_measured_without_a_font():
    assert text_width("体育A", size=10) == pytest.approx(26.2)


def test_figures_need_no_pyplot():
    code = "import sys, tfcamp.figures; print('matplotlib.pyplot' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "False", result.stderr

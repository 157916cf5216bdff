"""The report: one file, nothing runs, nothing is loaded, nothing clashes."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tfcamp.errors import UserError
from tfcamp.figures import Section, Table, confusion_matrix, figure_svg, write_report
from tfcamp.figures.inline import inline_svg
from tfcamp.figures.report import format_value

ATTACK = '"><script>document.title = "taken over"</script><img src=x onerror=alert(1)>'


class Page(HTMLParser):
    """What a browser would find in the page: elements with attributes, and text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text.append(data.strip())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def write(path: Path, attack: str = "") -> str:
    svg = figure_svg(confusion_matrix(np.array([[7, 1], [2, 9]]), ["财经" + attack, "体育"]))
    write_report(
        path,
        title="News" + attack,
        subtitle="sample" + attack,
        config={"model" + attack: "bilstm" + attack, "learning_rate": 0.001},
        metrics={
            "test accuracy": 0.91854,
            "rows" + attack: 97873,
            "dev" + attack: {"macro_f1": 0.9, "loss": np.float32(0.3)},
            "test": {"macro_f1": 0.8},
        },
        environment={"tensorflow": "2.21.0" + attack},
        sections=[
            Section("Confusion" + attack, "First." + attack + "\n\nSecond.", svg, "Alt" + attack),
            Section("Again", figure_svg=svg),
            Section("Mistakes", table=Table(["text" + attack, "p"], [["牛市" + attack, 0.7]])),
        ],
    )
    return path.read_text("utf-8")


@pytest.fixture
def source(tmp_path) -> str:
    return write(tmp_path / "folder" / "report.html")


def test_the_page_shows_what_it_was_given(source):
    page = Page(source)
    for text in ("News", "sample", "0.9185", "97,873", "macro f1", "0.9000", "0.3000", "牛市"):
        assert text in page.text
    for text in ("First.", "Second.", "Configuration", "learning_rate", "0.001", "2.21.0"):
        assert text in page.text


def test_text_of_the_user_never_becomes_markup(tmp_path, source):
    page = Page(write(tmp_path / "attacked.html", ATTACK))
    harmless = Page(source)
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in harmless.elements]
    assert not page.all("script") and not page.all("img")
    names = {name for _, attributes in page.elements for name in attributes}
    assert not [name for name in names if name.startswith("on")]
    assert sum(ATTACK in text for text in page.text) >= 10


def test_the_page_loads_nothing_and_forbids_scripts(source):
    page = Page(source)
    policy = next(it for it in page.all("meta") if it.get("http-equiv"))
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert policy["content"].startswith("default-src 'none'")
    assert not re.search(r"https?:|@import|//", source.replace("<!--", ""))
    assert not page.all("link") and not page.all("iframe")


def test_names_in_figures_do_not_clash_and_references_resolve(source):
    page = Page(source)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) > 20
    used = re.findall(r"url\(#([^)]+)\)|href=\"#([^\"]+)\"", source)
    assert used and {first or second for first, second in used} <= set(ids)


def test_figures_follow_light_and_dark(source):
    assert "prefers-color-scheme: dark" in source
    svg = source[source.index("<svg") : source.rindex("</svg>")]
    assert "fill: var(--fill)" in svg and "fill: var(--ink)" in svg
    assert not re.search(r"#[0-9a-f]{6}\b", svg), "every colour belongs to a theme"
    assert "font-family" not in svg, "letters take the page's font"
    assert "<style" not in svg


def test_the_page_is_accessible_and_fits_a_phone(source):
    page = Page(source)
    assert page.all("html") == [{"lang": "en"}]
    assert any(it.get("name") == "viewport" for it in page.all("meta"))
    assert {it["scope"] for it in page.all("th")} == {"col", "row"}
    for svg in page.all("svg"):
        assert svg["role"] == "img" and svg["aria-label"] in ("Alt", "Again")
    for scroll in (it for it in page.all("div") if it.get("class") == "scroll"):
        assert scroll["tabindex"] == "0" and scroll["aria-label"]
    assert {"scope": "row", "lang": "zh"} in page.all("th")
    assert source.count("<table>") == source.count('class="scroll"') - len(page.all("svg"))


def test_small_neighbours_stand_side_by_side(tmp_path):
    svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} 10"></svg>'
    sections = [
        Section("small", figure_svg=svg.format(440)),
        Section("wide", figure_svg=svg.format(720)),
        Section("narrow", table=Table(["a", "b"], [["x", 1]])),
        Section("long", table=Table(["a", "b"], [["x" * 80, 1]])),
        Section("text", "only"),
    ]
    path = tmp_path / "report.html"
    write_report(path, title="t", config={}, metrics={}, sections=sections)
    halves = re.findall(r'<section( class="half")?>\n<h2>(\w+)', path.read_text("utf-8"))
    assert [name for half, name in halves if half] == ["small", "narrow"]


def test_a_figure_keeps_drawing_elements_only():
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        'viewBox="0 0 10 20" onload="alert(1)"><script>alert(2)</script><style>*{}</style>'
        '<a href="http://example.org"><text>gone</text></a>'
        '<image href="http://example.org/x.png"/><image xlink:href="data:image/png;base64,AA=="/>'
        '<g id="a" clip-path="url(#b)" style="fill: #1e2429; font-family: x"><use href="#b"/></g>'
        "</svg>"
    )
    result, width = inline_svg(svg, "p-", 'a "label"')
    assert width == 10
    assert result == (
        '<svg viewBox="0 0 10 20" role="img" aria-label="a &quot;label&quot;"><image />'
        '<image href="data:image/png;base64,AA==" />'
        '<g id="p-a" clip-path="url(#p-b)" style="fill: var(--ink); "><use href="#p-b" /></g></svg>'
    )


@pytest.mark.parametrize(
    "svg", ["no svg", "<html></html>", "<svg xmlns='http://www.w3.org/2000/svg'/>"]
)
def test_what_is_no_svg_is_refused(svg):
    with pytest.raises(ValueError, match="SVG document"):
        inline_svg(svg, "p-", "label")


def test_a_row_that_does_not_fit_its_header_is_refused(tmp_path):
    section = Section("t", table=Table(["a", "b"], [[1]]))
    with pytest.raises(ValueError, match="a row of 1 cells under 2 columns"):
        write_report(tmp_path / "r.html", title="t", config={}, metrics={}, sections=[section])
    assert not list(tmp_path.iterdir())


def test_a_report_that_cannot_be_written_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written"):
        write_report(tmp_path / "file/r.html", title="t", config={}, metrics={}, sections=[])


def test_equal_reports_are_equal_files(tmp_path, source):
    assert write(tmp_path / "again.html") == source


def test_values_read_well():
    values = [
        True,
        np.int64(12345),
        np.float32(1),
        1.0,
        -0.25,
        12.34,
        2e-5,
        np.inf,
        ["a", 2],
        {"b": 1},
    ]
    expected = [
        "yes",
        "12,345",
        "1.0000",
        "1.0000",
        "-0.2500",
        "12.3",
        "2.00e-05",
        "–",
        "a, 2",
        "b 1",
    ]
    assert [format_value(value) for value in values] == expected


@pytest.mark.slow
def test_a_browser_runs_nothing_and_scrolls_nothing_sideways(tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium on this machine")
    write(tmp_path / "report.html", ATTACK)
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
    command = [browser, *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    result = subprocess.run(
        [*command, (tmp_path / "report.html").as_uri()], capture_output=True, text=True, timeout=600
    )
    assert "Configuration" in result.stdout, result.stderr
    assert "<title>taken over" not in result.stdout
    assert not Page(result.stdout).all("script")

"""The page in a real browser, with the models that come with the project.

Screenshots are kept in pytest's folder for temporary files.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.demo.browser import Browser
from tests.demo.process import Demo
from tests.demo.serve_offline import ATTEMPT
from tfcamp.demo.examples import EXAMPLE_DRAWINGS
from tfcamp.demo.texts import CHINESE, ENGLISH, Texts
from tfcamp.vision.render import draw_number, render_number

pytestmark = pytest.mark.slow

WIDTHS = pytest.mark.parametrize("width", [1280, 390])
LANGUAGES = pytest.mark.parametrize(
    ("path", "texts"), [("/", ENGLISH), ("/zh", CHINESE)], ids=["en", "zh"]
)
SEVEN, ONE, FOUR = (
    [[(0.15, 0.25), (0.33, 0.25), (0.25, 0.8)]],
    [[(0.5, 0.2), (0.5, 0.8)]],
    [[(0.67, 0.2), (0.63, 0.5), (0.8, 0.5)], [(0.75, 0.25), (0.75, 0.8)]],
)


@pytest.fixture(scope="module")
def browser(offline_demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(offline_demo.url, tmp_path_factory.mktemp("screenshots"))
    yield browser
    browser.driver.quit()


def picture_field(browser: Browser):
    """Returns the canvas, once its program runs, which begins by painting the paper."""
    canvas = browser.one(".picture canvas")
    script = """
        const loaded = [...document.querySelectorAll(".sample img")].every(it => it.complete);
        return loaded && arguments[0].getContext("2d").getImageData(0, 0, 1, 1).data[3] == 255
    """
    browser.wait(lambda: browser.driver.execute_script(script, canvas))
    return canvas


@WIDTHS
@LANGUAGES
def test_a_headline_is_typed_and_classified(browser: Browser, path, texts: Texts, width):
    browser.open(path, width=width)
    browser.type("主队客场逆转夺冠，球迷彻夜庆祝")
    assert browser.text(".answer") == texts.class_names.get("sports", "sports")
    assert browser.text(".words").replace("\n", "").startswith("主队")
    shares = [row.text for row in browser.all(".bars td:last-child")]
    assert len(shares) == 10 and all(re.fullmatch(r"[<>]? ?[\d.]+ %", it) for it in shares)
    assert browser.all(".word .for")
    check_page(browser, f"headline-{texts.language}-{width}", width)


@WIDTHS
@LANGUAGES
def test_a_house_number_is_chosen_and_read(browser: Browser, path, texts: Texts, width):
    browser.open(path, width=width)
    browser.tab(texts.number_tab)
    picture_field(browser)
    seed, index = EXAMPLE_DRAWINGS[0]
    browser.all(".sample")[0].click()
    assert browser.text(".answer") == draw_number(seed, index, "dev")
    assert re.search(r"[\d.]+ %", browser.text(".answer + .legend"))
    heat = browser.one(".heat")
    browser.wait(lambda: heat.get_property("naturalWidth") > 1)
    browser.wait(lambda: heat.size == browser.one(".layers img:first-child").size)
    check_page(browser, f"number-{texts.language}-{width}", width)


def test_a_house_number_is_drawn_and_read(browser: Browser):
    browser.open()
    browser.tab(ENGLISH.number_tab)
    canvas = picture_field(browser)
    for stroke in (*SEVEN, *ONE, *FOUR):
        browser.drag(canvas, stroke)
    browser.wait(lambda: [it for it in browser.all(".answer") if it.text == "714"])
    check_page(browser, "number-drawn", 1280)
    browser.one(".picture .clear").click()
    browser.wait(lambda: not browser.all(".answer"))


def test_a_photograph_is_chosen_and_a_frame_dragged_around_its_number(
    browser: Browser, tmp_path: Path
):
    # A wall of 1600 x 1200 pixels with a small plate on it.
    photograph = Image.new("RGB", (1600, 1200), (120, 140, 110))
    drawing = render_number(*EXAMPLE_DRAWINGS[0], "dev", clear=True)
    photograph.paste(Image.fromarray(drawing.image).resize((320, 200)), (960, 300))
    photograph.save(tmp_path / "wall.jpg")

    browser.open()
    browser.tab(ENGLISH.number_tab)
    canvas = picture_field(browser)
    browser.driver.find_element("css selector", ".picture input").send_keys(
        str(tmp_path / "wall.jpg")
    )
    browser.one(".answer")
    browser.drag(canvas, [(0.6, 0.25), (0.7, 0.3), (0.8, 0.25 + 1 / 6)])
    browser.wait(lambda: [it for it in browser.all(".answer") if it.text == drawing.number])
    # Cut from the photograph itself, not from the smaller picture on the page.
    shown = browser.one(".layers img:first-child")
    assert 300 < browser.wait(lambda: shown.get_property("naturalWidth")) < 340
    check_page(browser, "number-framed", 1280)
    canvas.click()  # the whole photograph is back
    browser.wait(
        lambda: browser.one(".layers img:first-child").get_property("naturalWidth") == 1024
    )


def test_a_press_that_began_beside_the_canvas_is_none(browser: Browser):
    from selenium.webdriver import ActionChains

    browser.open()
    browser.tab(ENGLISH.number_tab)
    browser.errors()
    hint, canvas = browser.one(".picture .legend"), picture_field(browser)
    chain = ActionChains(browser.driver).move_to_element(hint).click_and_hold()
    chain.move_to_element(canvas).release().perform()
    browser.drag(canvas, SEVEN[0])
    browser.one(".answer, .note")
    assert browser.errors() == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x89PNG\r\n\x1a\nnonsense", "broken_picture"),
        (b"", "broken_picture"),
        (bytes(21_000_000), "large_picture"),
    ],
    ids=["broken", "empty", "large"],
)
def test_a_file_that_is_no_picture_is_answered_with_a_line(
    browser: Browser, tmp_path: Path, content: bytes, reason: str
):
    (tmp_path / "picture.png").write_bytes(content)
    browser.open("/zh")
    browser.tab(CHINESE.number_tab)
    picture_field(browser)
    browser.driver.find_element("css selector", ".picture input").send_keys(
        str(tmp_path / "picture.png")
    )
    assert browser.text(".note") == CHINESE.refusals[reason]


@WIDTHS
@LANGUAGES
def test_a_sentence_is_typed_and_translated(browser: Browser, path, texts: Texts, width):
    browser.open(path, width=width)
    browser.tab(texts.sentence_tab)
    browser.type("Ein Hund läuft über eine grüne Wiese.")
    answer = browser.text(".answer")
    best = [row.text for row in browser.wait(lambda: browser.all(".list tr"))]
    assert answer and best[0].startswith(answer)
    assert len(best) > 1
    assert re.search(r"Hund|[␣H]", browser.text(".scroll svg"))
    check_page(browser, f"sentence-{texts.language}-{width}", width)


def test_an_example_brings_its_direction(browser: Browser):
    browser.open()
    browser.tab(ENGLISH.sentence_tab)
    directions = browser.wait(lambda: browser.all("label:has(input[type=radio])"))
    assert [it.text for it in directions] == ["Deutsch → English", "Français → English"]
    directions[1].click()
    examples = browser.wait(lambda: [it for it in browser.all("button") if "Hund" in it.text])
    examples[0].click()
    browser.one(".answer")
    chosen = directions[0].find_element("css selector", "input")
    browser.wait(lambda: chosen.is_selected())


def test_an_example_is_clicked_and_answered(browser: Browser):
    headline = "高考志愿填报今日开始"
    browser.open()
    (example,) = browser.wait(lambda: [it for it in browser.all("button") if it.text == headline])
    example.click()
    assert browser.text(".answer") == "education"
    assert browser.one("textarea").get_property("value") == headline


@LANGUAGES
def test_text_that_is_empty_or_too_long_is_answered_with_a_line(
    browser: Browser, path: str, texts: Texts
):
    browser.open(path)
    browser.type("")
    assert browser.text(".note") == texts.refusals["empty_text"]
    browser.driver.execute_script(  # typing so much takes a minute
        "arguments[0].value = '字'.repeat(60000); arguments[0].dispatchEvent(new Event('input'))",
        browser.one("textarea"),
    )
    browser.one("textarea").send_keys("\n")
    browser.wait(lambda: browser.text(".note") == texts.refusals["long_text"].format(limit=200))


def test_the_language_is_switched(browser: Browser):
    browser.open()
    browser.driver.find_element("link text", CHINESE.name).click()
    browser.wait(lambda: CHINESE.subtitle in browser.text("header"))
    assert browser.driver.execute_script("return document.documentElement.lang") == "zh"
    browser.driver.find_element("link text", ENGLISH.name).click()
    browser.wait(lambda: ENGLISH.subtitle in browser.text("header"))
    assert browser.driver.execute_script("return document.documentElement.lang") == "en"


def test_neither_page_nor_server_reaches_out(browser: Browser, offline_demo: Demo):
    browser.requests()
    for path in ("/", "/zh"):
        browser.open(path)
        browser.type("股市")
        browser.one(".answer")
    asked = browser.requests()
    assert len(asked) > 20
    assert {
        url for url in asked if not url.startswith(("data:", "blob:", offline_demo.url))
    } == set()
    assert ATTEMPT not in offline_demo.log.read_text("utf-8")


def check_page(browser: Browser, name: str, width: int) -> None:
    """Keeps a picture; nothing failed, and nothing is wider than the screen."""
    assert browser.screenshot(name).stat().st_size > 10_000
    assert browser.errors() == []
    page_width = browser.driver.execute_script("return document.scrollingElement.scrollWidth")
    assert page_width <= width

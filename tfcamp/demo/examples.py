"""What can be clicked on the page instead of typing: no news, no photographs of real houses."""

import base64
import io

from PIL import Image

from tfcamp.vision.render import render_number

EXAMPLE_HEADLINES = (
    "央行宣布下调存款准备金率",
    "主队客场逆转夺冠，球迷彻夜庆祝",
    "高考志愿填报今日开始",
    "新款手机下月发布，电池续航翻倍",
    "两市早盘低开高走，券商板块领涨",
)

_SENTENCES = {
    "de": ("Ein Hund läuft über eine grüne Wiese.", "Zwei Kinder spielen am Strand."),
    "en": ("How much is this?", "See you tomorrow.", "Where is the nearest station?"),
    "zh": ("这个多少钱？", "明天见。", "车站在哪里？"),
}

# Seeds and indices of clear drawings of different walls, plates and lengths.
EXAMPLE_DRAWINGS = ((0, 0), (0, 6), (2, 3), (3, 1), (3, 4))


def example_sentences(language: str) -> tuple[str, ...]:
    """Returns sentences of a language to translate, English ones where none are known."""
    return _SENTENCES.get(language, _SENTENCES["en"])


def example_pictures() -> list[str]:
    """Returns drawings of house numbers as data URLs of PNGs."""
    urls = []
    for seed, index in EXAMPLE_DRAWINGS:
        file = io.BytesIO()
        drawing = render_number(seed, index, "dev", clear=True)
        Image.fromarray(drawing.image).save(file, "PNG")
        urls.append("data:image/png;base64," + base64.b64encode(file.getvalue()).decode())
    return urls

"""Answers as HTML: what is said, and that no input becomes part of the page."""

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from tests.demo.stand_ins import data_url, picture
from tfcamp.demo.answers import HeadlineAnswer, NumberAnswer, Refusal, SentenceAnswer, Word
from tfcamp.demo.texts import CHINESE, ENGLISH, Texts
from tfcamp.demo.views import show_headline, show_number, show_refusal, show_sentence
from tfcamp.export.translation_model import Attention

EVIL = '<img src=x onerror="alert(1)">'
HEADLINE = HeadlineAnswer(
    "sports",
    [("sports", 0.75), ("finance", 0.2496), ("game", 0.0004)],
    [Word("夺冠", 2.0, 0.25), Word("股价", -1.0, 0.9), Word("，", 0.1, 0.74)],
    num_words=3,
    num_read=3,
)
ATTENTION = Attention(["▁Hund", "</s>"], ["▁dog", "</s>"], np.array([[0.75, 0.25], [0.5, 0.5]]))
SENTENCE = SentenceAnswer([("dog", -0.5), ("hound", -0.75)], ATTENTION, 2, 64, 256)


def words_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page)).strip()


def is_well_formed(page: str) -> bool:
    closed = re.sub(r"<(img|br)\b([^>]*[^/])>", r"<\1\2/>", page)
    return ElementTree.fromstring(closed) is not None


def test_words_are_tinted_by_what_they_say():
    shown = show_headline(HEADLINE, ENGLISH)
    tints = re.findall(r'class="(for|against)" style="--share: ([\d.]+)">(\S+?)<', shown)
    assert tints == [("for", "1.00", "夺冠"), ("against", "0.50", "股价"), ("for", "0.05", "，")]


def test_only_words_that_matter_have_their_probability_below_them():
    assert re.findall(r"<small>(.*?)</small>", show_headline(HEADLINE, ENGLISH)) == [
        *("25 %", "90 %", "")
    ]


@pytest.mark.parametrize("texts", [ENGLISH, CHINESE], ids=lambda texts: texts.language)
def test_words_that_were_not_read_are_said(texts: Texts):
    said = texts.headline_cut.format(count=40, limit=32)
    assert said in show_headline(HEADLINE._replace(num_words=40, num_read=32), texts)
    assert show_headline(HEADLINE, texts).count('class="note"') == 0


def test_weak_words_stay_pale():
    weak = HEADLINE._replace(words=[Word("今日", 0.05, 0.74)])
    assert "--share: 0.10" in show_headline(weak, ENGLISH)


def test_bars_are_as_long_as_their_classes_are_probable():
    shown = show_headline(HEADLINE, ENGLISH)
    assert re.findall(r'style="width: ([\d.]+)%"', shown) == ["75.00", "24.96", "0.04"]
    assert words_of(shown).endswith("sports 75 % finance 25 % game &lt; 0.1 %")


def test_classes_have_chinese_names_on_the_chinese_page_and_unknown_ones_their_own():
    other = HEADLINE._replace(probabilities=[("sports", 0.5), ("weather", 0.5)])
    assert words_of(show_headline(other, CHINESE)).endswith("体育 50 % weather 50 %")


@pytest.mark.parametrize("texts", [ENGLISH, CHINESE], ids=lambda texts: texts.language)
def test_a_number_is_shown_with_its_picture_and_the_places_that_speak_for_it(texts: Texts):
    url, heat = data_url(picture()), np.array([[0.0, 2.0], [1.0, 0.0]])
    shown = show_number(NumberAnswer("42", 0.9996, heat), url, texts)
    assert ">42</p>" in shown and f'src="{url}"' in shown
    assert texts.number_sure.format("&gt; 99.9") in shown
    assert texts.number_unsure not in shown
    (layer,) = re.findall(r'class="heat" src="data:image/png;base64,(\S+?)"', shown)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(layer))))
    assert pixels[..., 3].tolist() == [[0, 200], [100, 0]]


def test_no_heat_at_all_is_a_clear_picture():
    assert show_number(NumberAnswer("4", 0.9, np.zeros([2, 3])), "", ENGLISH).count("<img") == 2
    assert show_number(NumberAnswer("4", 0.9, None), "", ENGLISH).count("<img") == 1


def test_a_guess_is_called_one():
    assert ENGLISH.number_unsure in show_number(NumberAnswer("4", 0.4, None), "", ENGLISH)


def test_no_number_is_said_to_be_none():
    shown = show_number(NumberAnswer("", 0.9, None), "", ENGLISH)
    assert words_of(shown) == ENGLISH.number_nothing


@pytest.mark.parametrize("texts", [ENGLISH, CHINESE], ids=lambda texts: texts.language)
def test_a_sentence_is_shown_with_its_n_best_and_the_map(texts: Texts):
    shown = show_sentence(SENTENCE, "en", texts)
    assert words_of(shown).startswith(f"dog {texts.sentence_best} dog -0.50 hound -0.75")
    for piece in ("␣Hund", "␣dog", "&lt;/s&gt;", f"{texts.sentence_deepest}: 75 %"):
        assert piece in shown
    assert "of the attention" not in shown  # the figure's own footer
    assert is_well_formed(shown)


def test_what_was_not_read_is_said():
    cut = SENTENCE._replace(num_tokens=70)
    assert ENGLISH.sentence_cut.format(count=70, limit=63) in show_sentence(cut, "en", ENGLISH)
    assert "were translated" not in show_sentence(SENTENCE, "en", ENGLISH)


@pytest.mark.parametrize("texts", [ENGLISH, CHINESE], ids=lambda texts: texts.language)
@pytest.mark.parametrize(("num_tokens", "count"), [(255, "255"), (256, "≥ 256")])
def test_of_a_sentence_that_was_not_counted_whole_a_bound_is_said(
    texts: Texts, num_tokens: int, count: str
):
    shown = show_sentence(SENTENCE._replace(num_tokens=num_tokens), "en", texts)
    assert texts.sentence_cut.format(count=count, limit=63) in words_of(shown)


def test_an_empty_translation_is_said_to_be_empty():
    empty = SENTENCE._replace(best=[("", -0.5)], attention=None)
    assert words_of(show_sentence(empty, "en", ENGLISH)).startswith(ENGLISH.sentence_empty)


def test_a_map_that_nobody_could_read_is_left_out():
    pieces = ["a"] * 31
    large = Attention(pieces, pieces, np.full([31, 31], 1 / 31))
    shown = show_sentence(SENTENCE._replace(attention=large), "en", ENGLISH)
    assert ENGLISH.sentence_no_map in shown and "<svg" not in shown


def test_what_is_refused_says_why_and_what_would_do():
    assert words_of(show_refusal(Refusal("long_text", limit=200), ENGLISH)) == (
        "That is too long: at most 200 characters."
    )


def test_no_input_becomes_part_of_the_page():
    evil_attention = Attention([EVIL], [EVIL], np.ones([1, 1]))
    shown = [
        show_headline(HeadlineAnswer(EVIL, [(EVIL, 1.0)], [Word(EVIL, 1.0, 0.5)], 1, 1), ENGLISH),
        show_number(NumberAnswer(EVIL, 0.9, None), f'"{EVIL}', ENGLISH),
        show_sentence(SentenceAnswer([(EVIL, -1.0)], evil_attention, 1, 4, 16), EVIL, ENGLISH),
        show_refusal(Refusal("bad_model", folder=EVIL), ENGLISH),
    ]
    for page in shown:
        assert "<img src=x" not in page
        assert is_well_formed(page)

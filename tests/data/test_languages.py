"""Languages in names and headers, and which way a data set is translated."""

import pytest

from tfcamp.data.languages import choose_direction, language_code, languages_in_name
from tfcamp.errors import UserError


@pytest.mark.parametrize(
    ("text", "code"),
    [
        *(("zh", "zh"), ("pt-BR", "pt-BR"), ("zh_Hans", "zh_Hans"), ("GERMAN", "de")),
        *(
            ("ZH", None),
            ("xx", None),
            ("", None),
            ("zh-", "zh-"),
            ("en us", None),
            ("zh-Hans-CN", None),
        ),
    ],
)
def test_codes(text: str, code: str | None) -> None:
    assert language_code(text) == code


@pytest.mark.parametrize(
    ("name", "languages"),
    [
        ("en_zh", ("en", "zh")),
        ("everyday_en_zh", ("en", "zh")),
        ("ted.pt-en", ("pt", "en")),
        ("2024 de-en", ("de", "en")),
        ("men_zh", None),
        ("en_en", None),
        ("en_zh_v2", None),
        ("news_ab_xx", None),
    ],
)
def test_languages_in_a_name(name: str, languages: tuple[str, str] | None) -> None:
    assert languages_in_name(name) == languages


@pytest.mark.parametrize(
    ("source", "target", "direction"),
    [
        (None, None, ("en", "zh-CN")),
        ("en", None, ("en", "zh-CN")),
        (None, "zh-CN", ("en", "zh-CN")),
        ("zh-CN", None, ("zh-CN", "en")),
        (None, "en", ("zh-CN", "en")),
        ("zh-CN", "english", ("zh-CN", "en")),
    ],
)
def test_one_language_decides_the_other(source, target, direction) -> None:
    assert choose_direction(["en", "zh-CN"], source, target, "pairs") == direction


@pytest.mark.parametrize(
    ("available", "source", "target", "told"),
    [
        (["de", "en"], None, "zh", "pairs: has de, en, not 'zh': give --target one of these"),
        (["de", "en"], "x", None, "pairs: has de, en, not 'x': give --source one of these"),
        (["de", "en"], "de", "de", "pairs: has de, en: --source and --target are both 'de'"),
        (["de", "en", "fr"], None, None, "pairs: has de, en, fr: name two of them"),
        (["de", "en", "fr"], "de", None, "pairs: has de, en, fr: name two of them"),
        (["de"], None, None, "pairs: has de alone; expected sentences of a second language"),
        (["de"], None, "en", "pairs: has de alone"),
    ],
)
def test_a_language_that_is_missing(available, source, target, told: str) -> None:
    with pytest.raises(UserError) as caught:
        choose_direction(available, source, target, "pairs")
    assert str(caught.value).startswith(told)

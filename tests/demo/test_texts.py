"""Both languages say the same things."""

import dataclasses
import re
import string

import pytest

from tfcamp.demo.texts import CHINESE, ENGLISH, Texts

# What may be the same in both languages, or is no sentence.
SAME = {"language", "title", "class_names", "refusals"}
SENTENCES = [field.name for field in dataclasses.fields(Texts) if field.name not in SAME]


def fields_in(text: str) -> list[str]:
    return sorted(
        name or "" for _, name, _, _ in string.Formatter().parse(text) if name is not None
    )


@pytest.mark.parametrize("name", SENTENCES)
def test_each_text_is_said_in_both_languages_with_the_same_fields(name):
    english, chinese = getattr(ENGLISH, name), getattr(CHINESE, name)
    assert fields_in(english) == fields_in(chinese)
    assert not re.search(r"[\u4e00-\u9fff]", english)
    assert re.search(r"[\u4e00-\u9fff]", chinese)


def test_each_refusal_is_said_in_both_languages():
    assert ENGLISH.refusals.keys() == CHINESE.refusals.keys()
    for reason, text in ENGLISH.refusals.items():
        assert fields_in(text) == fields_in(CHINESE.refusals[reason])

"""Which encoding a text that is not UTF-8 most likely has."""

import pytest

from tfcamp.data.encodings import likely_encoding

TEXTS = {
    "gb18030": "东原「阅系列」入昆首作，童梦童享惊艳亮相\tnews_house\n军人有一双怎样的手\n",
    "big5": "軍人有一雙怎樣的手，請問你住在哪裡？\tnews\n臺灣的學生喜歡喝茶\n",
    "shift_jis": "これは日本語の文章です。\tnews\n東京に行きました\n",
    "cp1252": "Ein Mädchen läuft über die Straße.\tnews\nC’est déjà l’été\n",
}


@pytest.mark.parametrize(("encoding", "text"), TEXTS.items())
def test_everyday_text_is_recognised(encoding: str, text: str) -> None:
    assert likely_encoding(text.encode(encoding)) == encoding


@pytest.mark.parametrize(("encoding", "text"), TEXTS.items())
def test_so_it_is_where_the_sample_ends_within_a_character(encoding: str, text: str) -> None:
    content = text.rstrip("\n").encode(encoding)
    for end in range(len(content) - 4, len(content)):
        assert likely_encoding(content[:end]) == encoding


def test_windows_unicode() -> None:
    for codec in ("utf-16-le", "utf-16-be"):
        assert likely_encoding("\ufeff股市\t财经\n".encode(codec)) == "utf-16"


def test_utf_8_with_a_damaged_place() -> None:
    content = TEXTS["gb18030"].encode()
    assert likely_encoding(content[:30] + content[31:]) == "utf-8"
    assert likely_encoding(content[:-2]) == "utf-8"


@pytest.mark.parametrize("content", [b"\xff\xff\xff", b"\x80 \x81 \x82", bytes(range(128, 256))])
def test_what_is_no_text_is_not_guessed(content: bytes) -> None:
    assert likely_encoding(content) is None


def test_single_lines_of_real_text(shared_data) -> None:
    path = shared_data / "tnews/dev.tsv"
    lines = path.read_text("utf-8").split("\n")[:1000]
    guesses = [likely_encoding(line.encode("gb18030")) for line in lines if not line.isascii()]
    assert guesses.count("gb18030") == len(guesses) == 1000

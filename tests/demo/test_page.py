"""The page as it is served: what it says, what it loads, what it refuses."""

import html
import json
import re
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.demo.client import ask, begin_of_answer, status_of
from tests.demo.process import STAND_INS, Demo, running
from tests.demo.stand_ins import data_url, picture
from tfcamp.demo.answers import MAX_HEADLINE, MAX_REQUEST_BYTES
from tfcamp.demo.texts import CHINESE, ENGLISH, Texts

LANGUAGES = pytest.mark.parametrize(
    ("path", "texts"), [("/", ENGLISH), ("/zh", CHINESE)], ids=["en", "zh"]
)


def fetch(url: str) -> str:
    with urllib.request.urlopen(url) as response:
        return response.read().decode()


def config_of(page: str) -> dict:
    (config,) = re.findall(r"window\.gradio_config = (\{.*?\});</script>", page)
    return json.loads(config)


@LANGUAGES
def test_each_language_has_its_page(page_url: str, path: str, texts: Texts):
    other = CHINESE if texts is ENGLISH else ENGLISH
    said = json.dumps(config_of(fetch(page_url + path))["components"], ensure_ascii=False)
    for name in ("subtitle", "headline_label", "number_hint", "sentence_button", "examples"):
        assert getattr(texts, name) in said
        assert getattr(other, name) not in said


@LANGUAGES
def test_the_page_loads_nothing_from_elsewhere(page_url: str, path: str, texts: Texts):
    page = fetch(page_url + path)
    own = urlsplit(page_url).netloc
    # Metadata for link previews names gradio's site, but no browser loads it.
    loaded = re.findall(r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=\"([^\"]+)\"", page)
    assert loaded
    assert {urlsplit(url).netloc for url in loaded} <= {"", own}
    config = config_of(page)
    assert config["stylesheets"] == []
    assert not config["analytics_enabled"]
    assert config["theme_hash"]
    assert "@import" not in fetch(f"{page_url}/theme.css")
    assert not re.search(r"url\((?!['\"]?(?:data:|static/|#))", fetch(f"{page_url}/theme.css"))


@pytest.mark.parametrize("name", ["headline", "headline_zh"])
def test_headlines_are_answered(page_url: str, name: str):
    shown = ask(page_url, name, "球队")
    assert ("体育" if name.endswith("zh") else "sports") in shown
    assert shown.count('class="word"') == 2


def test_pictures_are_answered(page_url: str):
    assert ">42</p>" in ask(page_url, "number", data_url(picture()))
    assert "42" in ask(page_url, "number_zh", data_url(picture("JPEG"), "jpeg"))


def test_sentences_are_answered_in_the_direction_that_was_chosen(page_url: str):
    assert "a dog" in ask(page_url, "sentence", "ein Hund", "Deutsch → English")


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("headline", [""], "empty_text"),
        ("headline", [None], "empty_text"),
        ("number", [None], None),
        ("number", ["broken"], "broken_picture"),
        ("number", [["a", "list"]], "broken_picture"),
        ("sentence", ["  ", "Deutsch → English"], "empty_text"),
    ],
)
def test_bad_input_is_answered_with_a_line_in_the_page(page_url: str, name, values, reason):
    expected = ENGLISH.refusals[reason] if reason else ""
    assert expected in ask(page_url, name, *values)


def test_text_that_is_too_long_is_answered_in_the_language_of_the_page(page_url: str):
    long = "字" * (MAX_HEADLINE + 1)
    for name, texts in (("headline", ENGLISH), ("headline_zh", CHINESE)):
        assert texts.refusals["long_text"].format(limit=MAX_HEADLINE) in ask(page_url, name, long)


def test_a_model_that_fails_is_told_in_the_page_and_in_the_terminal(demo: Demo):
    shown = ask(demo.url, "sentence", "a dog", "English → 中文")
    assert ENGLISH.refusals["failure"] in shown
    assert "RuntimeError: out of order" in demo.log.read_text("utf-8")
    assert "a dog" in ask(demo.url, "sentence", "ein Hund", "Deutsch → English")


def test_a_direction_that_is_not_there_is_an_error_and_no_more(page_url: str):
    assert ask(page_url, "sentence", "a dog", "English → Klingon").startswith("error")


@pytest.mark.parametrize("path", ["call/headline", "call/number", "queue/join", "upload"])
def test_requests_that_are_too_large_are_refused_before_they_are_read(page_url: str, path: str):
    assert begin_of_answer(page_url, path, "Content-Length: 5000000", b"{").startswith(
        b"HTTP/1.1 413"
    )


def test_requests_that_do_not_say_how_large_they_are_are_refused_too(page_url: str):
    # One byte more than allowed and not the end: who sent more would be cut off while sending.
    size = MAX_REQUEST_BYTES + 1
    chunk = b"%x\r\n" % size + b"a" * size
    answer = begin_of_answer(page_url, "call/headline", "Transfer-Encoding: chunked", chunk)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413"))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"data": "text"}', b'{"data": []}', b"\xff"])
def test_what_is_no_request_is_answered(page_url: str, body: bytes):
    request = urllib.request.Request(
        f"{page_url}/gradio_api/call/headline", body, {"Content-Type": "application/json"}
    )
    assert status_of(request) in (200, 400, 422, 500)
    assert "sports" in ask(page_url, "headline", "球")


@pytest.mark.parametrize(("path", "field"), [("upload", "files"), ("process_recording", "video")])
def test_files_are_not_taken(page_url: str, path: str, field: str):
    form = (
        f'--B\r\nContent-Disposition: form-data; name="{field}"; filename="a.bin"\r\n'
        "Content-Type: text/plain\r\n\r\ncontent\r\n--B--\r\n"
    )
    kind = {"Content-Type": "multipart/form-data; boundary=B"}
    request = urllib.request.Request(f"{page_url}/gradio_api/{path}", form.encode(), kind)
    assert status_of(request) == 404


def test_a_file_of_this_machine_is_not_served(page_url: str):
    for path in ("/etc/hostname", str(Path(__file__))):
        assert status_of(urllib.request.Request(f"{page_url}/gradio_api/file={path}")) in (403, 404)


@pytest.mark.parametrize("name", ["headline", "number"])
def test_a_file_of_this_machine_is_not_taken_for_an_upload(page_url: str, name: str):
    file = {"path": str(Path(__file__)), "meta": {"_type": "gradio.FileData"}}
    assert ask(page_url, name, file).startswith("error")
    assert ask(page_url, name, [file]).startswith("error")


def test_a_missing_model_says_how_to_train_one(gradio: None, tmp_path: Path):
    with running((*STAND_INS, "none"), tmp_path) as demo:
        said = html.unescape(json.dumps(config_of(fetch(demo.url)), ensure_ascii=False))
    for project, name in (
        ("news", "news"),
        ("street_view", "street_view"),
        ("translation", "translation_en_zh"),
    ):
        assert f"python projects/{project}/train.py --export-dir 'my models/{name}/1'" in said
    assert ENGLISH.headline_label not in said

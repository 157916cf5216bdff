"""Which models are found, and what becomes of those that cannot be used."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

from tfcamp.demo import loaders
from tfcamp.demo.answers import Refusal
from tfcamp.demo.examples import EXAMPLE_HEADLINES, example_pictures, example_sentences
from tfcamp.demo.models import check_folder, load_models
from tfcamp.errors import UserError


class AtOnce(Executor):
    """Does what is submitted before it returns."""

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> Future:
        future: Future = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class Never(Executor):
    """Does nothing of it."""

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> Future:
        return Future()


def add_model(folder: Path, name: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "saved_model.pb").write_bytes(b"damaged")


def test_models_are_found_by_the_names_of_their_folders(tmp_path: Path):
    for name in ("news/1", "translation_en_zh/2", "translation_de_en/1", "translation_en_notes/1"):
        add_model(tmp_path, name)
    (tmp_path / "street_view/1").mkdir(parents=True)  # without a model in it
    found = load_models(tmp_path, Never())
    assert found.classify is not None and found.read is None
    assert list(found.translate) == [("en", "zh"), ("de", "en")]  # as predict.py takes it


def test_an_export_that_did_not_end_is_no_model(tmp_path: Path):
    add_model(tmp_path, "news/partial.1")
    assert load_models(tmp_path, Never()).classify is None


def test_a_folder_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"nowhere: expected a folder with models .*--saved-models"):
        check_folder(tmp_path / "nowhere")


@pytest.fixture
def loaded_from(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Lets the news model be loaded from anywhere: it repeats what it is asked."""
    folders = []

    def load(folder: Path) -> Callable[[object], object]:
        folders.append(folder)
        return lambda text: text

    monkeypatch.setattr(loaders, "load_classifier", load)
    return folders


def test_the_newest_version_is_loaded_and_answers(tmp_path: Path, loaded_from: list[Path]):
    for version in ("2", "10"):
        add_model(tmp_path, f"news/{version}")
    classify = load_models(tmp_path, AtOnce()).classify
    assert loaded_from == [tmp_path / "news/10"]
    assert classify is not None and classify("a headline") == "a headline"


def test_a_model_is_asked_once_before_anybody_asks(tmp_path: Path, monkeypatch):
    asked = []
    monkeypatch.setattr(loaders, "load_classifier", lambda _: asked.append)
    add_model(tmp_path, "news/1")
    load_models(tmp_path, AtOnce())
    assert asked == [EXAMPLE_HEADLINES[0]]


def test_a_damaged_model_is_told_once_and_refused_each_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    add_model(tmp_path, "news/1")
    classify = load_models(tmp_path, AtOnce()).classify
    assert "news: " in capsys.readouterr().err
    assert classify is not None
    refusals = []
    for _ in range(2):
        with pytest.raises(Refusal, match="bad_model") as caught:
            classify("a headline")
        refusals.append(caught.value)
    assert refusals[0].values == {"folder": tmp_path / "news"}
    # One that is raised again and again grows by a traceback each time.
    assert refusals[0] is not refusals[1]


def test_a_model_that_cannot_answer_an_example_is_refused(tmp_path: Path, monkeypatch):
    def fail(_: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(loaders, "load_classifier", lambda _: fail)
    add_model(tmp_path, "news/1")
    classify = load_models(tmp_path, AtOnce()).classify
    assert classify is not None
    with pytest.raises(Refusal, match="bad_model"):
        classify("a headline")


def test_examples_are_what_the_page_would_send():
    from tfcamp.demo.answers import MAX_HEADLINE, MAX_SENTENCE, decode_picture

    pictures = [decode_picture(url) for url in example_pictures()]
    assert len(set(pictures)) == len(pictures) >= 3
    assert all(len(headline) <= MAX_HEADLINE for headline in EXAMPLE_HEADLINES)
    assert example_sentences("de") != example_sentences("en") == example_sentences("xx")
    for language in ("de", "en", "zh"):
        assert all(len(sentence) <= MAX_SENTENCE for sentence in example_sentences(language))

"""The models of the demo: which are there, and loading them while the page is already served."""

import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfcamp.data.languages import languages_in_name
from tfcamp.demo import answers
from tfcamp.demo.examples import EXAMPLE_HEADLINES, example_pictures, example_sentences
from tfcamp.errors import UserError

NEWS, STREET_VIEW, TRANSLATION = "news", "street_view", "translation_en_zh"

# From raw input to an answer; raises `Refusal`.
Answer = Callable[[object], Any]


@dataclass(frozen=True)
class DemoModels:
    """What answers on the page; None where there is no model.

    Attributes:
      folder: of all models.
      classify: headlines.
      read: pictures, as data URLs.
      translate: sentences, by the languages (from, to).
    """

    folder: Path
    classify: Answer | None
    read: Answer | None
    translate: dict[tuple[str, str], Answer]


def load_models(folder: Path, loading: Executor) -> DemoModels:
    """Finds the models of a folder and begins to load them.

    Each is loaded and asked once in the background, so that the first answer is no slower than the
    others. What is asked earlier waits.

    Args:
      folder: with the models as ``<name>/<version>/``.
      loading: what loads them; with one worker, one after the other.

    Raises:
      UserError: no such folder.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: expected a folder with models such as {NEWS}/1: name it with --saved-models"
        )

    def answer_of(name: str, load: Callable[[Path], Answer], example: object) -> Answer | None:
        if not any(folder.glob(f"{name}/[0-9]*/saved_model.pb")):
            return None
        loaded: Future[Answer] = loading.submit(_load_and_warm_up, load, folder / name, example)
        return lambda raw: loaded.result()(raw)

    classify = answer_of(NEWS, _load_classifier, EXAMPLE_HEADLINES[0])
    read = answer_of(STREET_VIEW, _load_reader, example_pictures()[0])
    translate = {}
    # The direction that predict.py takes is offered first.
    for path in sorted(folder.glob("translation_*_*"), key=lambda it: (it.name != TRANSLATION, it)):
        languages = languages_in_name(path.name)
        if languages is not None:
            answer = answer_of(path.name, _load_translator, example_sentences(languages[0])[0])
            if answer is not None:
                translate[languages] = answer
    return DemoModels(folder, classify, read, translate)


def _load_and_warm_up(load: Callable[[Path], Answer], folder: Path, example: object) -> Answer:
    """Returns what answers: a model that has answered an example, or a word on a broken one."""
    # Here and below TensorFlow is imported only when it is needed: it takes seconds.
    from tfcamp.export.folders import newest_version

    try:
        answer = load(newest_version(folder))
        answer(example)
        return answer
    except Exception as error:
        print(f"note: {folder}: {error}", file=sys.stderr)

    def refuse(_: object) -> None:
        raise answers.Refusal("bad_model", folder=folder)

    return refuse


def _load_classifier(folder: Path) -> Answer:
    import tensorflow as tf

    from tfcamp.export.saved_model import load_text_classifier
    from tfcamp.text.chinese import ChineseSegmenter

    model, segmenter = load_text_classifier(folder), ChineseSegmenter()

    def segment(text: str) -> list[str]:
        return [word.decode() for word in segmenter(tf.constant([text]))[0].numpy()]

    return lambda text: answers.classify_headline(model, segment, text)


def _load_reader(folder: Path) -> Answer:
    from tfcamp.export.image_model import load_image_model

    model = load_image_model(folder)
    return lambda url: answers.read_number(model, answers.decode_picture(url))


def _load_translator(folder: Path) -> Answer:
    from tfcamp.export.translation_model import load_translation_model

    model = load_translation_model(folder)
    return lambda text: answers.translate_sentence(model, text)

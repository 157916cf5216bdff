"""Opens models for the demo; importing this brings TensorFlow, which takes seconds."""

import sys
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from tfcamp.demo import answers
from tfcamp.demo.answers import Answer, Refusal
from tfcamp.export.folders import newest_version
from tfcamp.export.image_model import load_image_model
from tfcamp.export.saved_model import load_text_classifier
from tfcamp.export.translation_model import load_translation_model
from tfcamp.text.chinese import ChineseSegmenter


def load_and_warm_up(load: Callable[[Path], Answer], folder: Path, example: object) -> Answer:
    """Returns what answers: a model that has answered an example, or a word on a broken one.

    Args:
      load: one of the functions below.
      folder: with versions of the model.
      example: what the model is asked.
    """
    try:
        answer = load(newest_version(folder))
        answer(example)
        return answer
    except Exception as error:
        print(f"note: {folder}: {error}", file=sys.stderr)

    def refuse(_: object) -> None:
        raise Refusal("bad_model", folder=folder)

    return refuse


def load_classifier(folder: Path) -> Answer:
    """Returns what classifies headlines."""
    model, segmenter = load_text_classifier(folder), ChineseSegmenter()

    def segment(text: str) -> list[str]:
        return [word.decode() for word in segmenter(tf.constant([text]))[0].numpy()]

    return lambda text: answers.classify_headline(model, segment, text)


def load_reader(folder: Path) -> Answer:
    """Returns what reads pictures, as data URLs."""
    model = load_image_model(folder)
    return lambda url: answers.read_number(model, answers.decode_picture(url))


def load_translator(folder: Path) -> Answer:
    """Returns what translates sentences."""
    model = load_translation_model(folder)
    return lambda text: answers.translate_sentence(model, text)

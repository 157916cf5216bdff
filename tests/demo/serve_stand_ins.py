"""Runs ``tfcamp demo`` with models that can be worked out by hand, or with none (``none``).

In a process of its own: gradio leaves event loops open, which pytest counts as errors.
"""

import sys
from pathlib import Path

import numpy as np

from tests.demo.stand_ins import (
    AdditiveClassifier,
    FixedReader,
    FixedTranslator,
    Map,
    as_classifier,
    as_reader,
    as_translator,
)
from tfcamp.cli import main
from tfcamp.demo import answers, server
from tfcamp.demo.models import DemoModels


def stand_ins() -> DemoModels:
    """Models that answer at once, and one that fails."""
    classifier = as_classifier(AdditiveClassifier({"球": 3.0, "股": -3.0}))
    reader = as_reader(FixedReader("42", 0.75, np.ones([2, 3], np.float32)))
    attention = Map(["▁Hund"], ["▁dog"], np.ones([1, 1], np.float32))
    translator = as_translator(FixedTranslator([("a dog", -0.5), ("a cat", -0.75)], attention))

    def fail(_: object) -> None:
        raise RuntimeError("out of order")

    return DemoModels(
        Path("my models"),
        classify=lambda text: answers.classify_headline(classifier, list, text),
        read=lambda url: answers.read_number(reader, answers.decode_picture(url)),
        translate={
            ("de", "en"): lambda text: answers.translate_sentence(translator, text),
            ("en", "zh"): fail,
        },
    )


if __name__ == "__main__":
    models = DemoModels(Path("my models"), None, None, {})
    if sys.argv.pop(1) == "stand-ins":
        models = stand_ins()
    server.load_models = lambda *_: models
    main()

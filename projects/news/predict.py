"""Classifies headlines with an exported model: arguments, a file, or standard input.

python projects/news/predict.py 央行下调存款准备金率 主队客场逆转夺冠
python projects/news/predict.py --file headlines.txt --json
cat headlines.txt | python projects/news/predict.py
"""

import codecs
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tfcamp.cli import run_project
from tfcamp.data.text_files import read_lines
from tfcamp.errors import UserError
from tfcamp.export.folders import newest_version
from tfcamp.export.saved_model import ServedTextClassifier, load_text_classifier
from tfcamp.text.corpus import batched

import tyro

ROWS_PER_BATCH = 512


# The model that comes with the project.
DEFAULT_MODEL = newest_version(Path(__file__).parents[2] / "saved_models" / "news")


@dataclass(frozen=True)
class PredictConfig:
    """Options of ``predict.py``."""

    texts: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Headlines; without any, and without --file, standard input is read, one a line."""
    file: Path | None = None
    """A UTF-8 file with one headline a line."""
    saved_model: Path = DEFAULT_MODEL
    """The folder of a SavedModel."""
    json: bool = False
    """Print one JSON object a line, with the probability of every class."""

    def __post_init__(self) -> None:
        """Refuses two sources of headlines.

        Raises:
          UserError: one line that names the option.
        """
        if self.texts and self.file:
            raise UserError("--file: expected headlines or a file of them, not both")


def main(config: PredictConfig) -> None:
    """Classify Chinese headlines."""
    model = load_text_classifier(config.saved_model)
    for batch in batched(_lines(config), ROWS_PER_BATCH):
        for answer in predict(model, batch):
            if config.json:
                print(json.dumps(answer, ensure_ascii=False))
            else:
                print(f"{answer['label']}  {answer['probability']:6.1%}  {answer['text']}")


def predict(model: ServedTextClassifier, texts: list[bytes]) -> Iterator[dict]:
    """Yields ``text``, ``label``, ``probability`` and ``probabilities`` by class for each text."""
    for text, row in zip(texts, model(texts), strict=True):
        best = int(row.argmax())
        yield {
            "text": text.decode("utf-8", "replace"),
            "label": model.classes[best],
            "probability": float(row[best]),
            "probabilities": dict(zip(model.classes, map(float, row), strict=True)),
        }


def _lines(config: PredictConfig) -> Iterable[bytes]:
    if config.texts:
        yield from (text.encode("utf-8", "surrogateescape") for text in config.texts)
    elif config.file is not None:
        yield from (line.encode() for line in read_lines(config.file))
    else:
        if sys.stdin.isatty():
            print("type headlines, one a line; Ctrl-D ends", file=sys.stderr)
        # Windows begins a file with a byte order mark and ends a line with two characters.
        for line in sys.stdin.buffer:
            yield line.removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n")


if __name__ == "__main__":
    run_project(main, PredictConfig)

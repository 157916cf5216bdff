"""Translates sentences with an exported model: arguments, a file, or what comes through a pipe.

python projects/translation/predict.py "How much is this?" "See you tomorrow."
python projects/translation/predict.py --file sentences.txt --beam 8
cat sentences.txt | python projects/translation/predict.py > translations.txt
python projects/translation/predict.py "See you tomorrow." --nbest 3 --attention map.png
"""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tfcamp.cli import run_project
from tfcamp.data.text_files import read_lines
from tfcamp.errors import UserError
from tfcamp.export.folders import newest_version
from tfcamp.export.translation_model import ServedTranslator, load_translation_model
from tfcamp.figures import attention_map, save_figure
from tfcamp.text.corpus import batched

import tyro

SENTENCES_PER_BATCH = 64

# The model that comes with the project.
DEFAULT_MODEL = newest_version(Path(__file__).parents[2] / "saved_models" / "translation_en_zh")


@dataclass(frozen=True)
class PredictConfig:
    """Options of ``predict.py``."""

    sentences: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Sentences to translate; without any, and without --file, each line of the input."""
    file: Path | None = None
    """A file of one sentence a line."""
    saved_model: Path = DEFAULT_MODEL
    """The folder of a SavedModel."""
    beam: Literal[1, 4, 8] = 4
    """How many beginnings are kept while a translation is searched; 1 is greedy."""
    nbest: Annotated[int, tyro.conf.arg(metavar="{1..8}")] = 1
    """How many translations to print of each sentence; more than one takes a beam of 8."""
    attention: Path | None = None
    """Draws where the model looked when it translated the first sentence.
    Beside out.png it writes out.svg."""
    json: bool = False
    """Print one JSON object a line."""

    def __post_init__(self) -> None:
        """Refuses what no signature can answer.

        Raises:
          UserError: one line that names the option.
        """
        if not 1 <= self.nbest <= 8:
            raise UserError(f"--nbest {self.nbest}: expected 1 to 8")
        if self.sentences and self.file:
            raise UserError("--file: expected sentences or a file of them, not both")
        if self.attention is not None and self.attention.suffix not in (".png", ".svg"):
            raise UserError(f"--attention {self.attention}: expected a name that ends in .png")
        if self.attention is not None and (self.beam, self.nbest) != (4, 1):
            raise UserError("--attention: shows the best of a beam of 4; leave out --beam, --nbest")


def main(config: PredictConfig) -> None:
    """Translate sentences."""
    model = load_translation_model(config.saved_model)
    first = None
    for batch in batched(find_sentences(config), SENTENCES_PER_BATCH):
        first = batch[0] if first is None else first
        warn_of_cuts(model, batch)
        for sentence, found in zip(batch, translate(model, config, batch), strict=True):
            if config.json:
                print(json.dumps({"text": sentence, "translations": found}, ensure_ascii=False))
            elif config.nbest == 1:
                print(on_one_line(found[0]["translation"]))
            else:
                print(sentence)
                for answer in found:
                    print(f"{answer['score']:>9.3f}  {on_one_line(answer['translation'])}")
        sys.stdout.flush()
    if config.attention is not None and first is not None:
        draw_attention(model, first, config.attention)


def translate(model: ServedTranslator, config: PredictConfig, sentences: list[str]) -> list[list]:
    """Returns the translations of each sentence, the best first, with their scores."""
    if config.nbest > 1:
        found = model.n_best(sentences, config.nbest)
    else:
        texts, scores = model(sentences, beam_size=config.beam)
        found = [[pair] for pair in zip(texts, map(float, scores), strict=True)]
    return [
        [{"translation": text, "score": round(score, 4)} for text, score in row] for row in found
    ]


def on_one_line(translation: str) -> str:
    """Returns a translation without the line breaks that a model may spell in bytes."""
    return " ".join(translation.splitlines())


def find_sentences(config: PredictConfig) -> Iterator[str]:
    """Yields the sentences of the options, of the file, or of standard input.

    Bytes that are no UTF-8 are replaced, in a pipe and where the shell passes them on: one line
    must not end a long job.

    Raises:
      UserError: the file cannot be read, or there is nothing to translate.
    """
    if config.sentences:
        for sentence in config.sentences:
            yield sentence.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    elif config.file is not None:
        yield from read_lines(config.file)
    elif sys.stdin.isatty():
        raise UserError("expected a sentence, --file FILE, or lines through a pipe")
    else:
        for number, line in enumerate(sys.stdin.buffer):
            text = line.decode("utf-8" if number else "utf-8-sig", "replace")
            yield text.removesuffix("\n").removesuffix("\r")


def warn_of_cuts(model: ServedTranslator, sentences: Iterable[str]) -> None:
    """Says on stderr which sentences are too long to be translated whole."""
    sentences = list(sentences)
    counts, limit = model.count_tokens(sentences)
    for sentence, count in zip(sentences, counts, strict=True):
        if count > limit:
            print(
                f"note: {sentence[:40]!r}… has more than {limit - 1} subwords: the first "
                f"{limit - 1} are translated; cut it into sentences, or train with more "
                "--max-tokens",
                file=sys.stderr,
            )


def draw_attention(model: ServedTranslator, sentence: str, path: Path) -> None:
    """Draws where the model looked.

    Raises:
      UserError: the model has no attention, or the file cannot be written.
    """
    maps = model.attention([sentence])
    if maps is None:
        raise UserError("--attention: this model has none (--model seq2seq --attention none)")
    figure = attention_map(*maps[0])
    if note := save_figure(figure, path.parent, path.stem).note:
        print(f"note: {note}", file=sys.stderr)


if __name__ == "__main__":
    run_project(main, PredictConfig)

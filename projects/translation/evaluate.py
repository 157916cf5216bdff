"""Measures a translator, or any translations: BLEU and chrF by sacreBLEU, with its signatures.

    python projects/translation/evaluate.py --dataset multi30k --data-dir DIR --saved-model M
    python projects/translation/evaluate.py --hypotheses mine.txt --references theirs.zh --target zh

Prints a table for people and, last, one line of JSON for programs.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Literal, NamedTuple

from projects.translation.predict import DEFAULT_MODEL, SENTENCES_PER_BATCH
from tfcamp.cli import run_project
from tfcamp.data.measured_rows import SplitName, splits_to_measure
from tfcamp.data.parallel_sources import ParallelRow, load_parallel_dataset
from tfcamp.data.text_files import read_lines
from tfcamp.errors import UserError
from tfcamp.export.translation_model import ServedTranslator, load_translation_model
from tfcamp.metrics.translation import TranslationReport, score_translations
from tfcamp.text.corpus import batched


@dataclass(frozen=True)
class EvaluateConfig:
    """Options of ``evaluate.py``."""

    saved_model: Path = DEFAULT_MODEL
    """The folder of a SavedModel."""
    dataset: str = "sample"
    """As in train.py: sample, reverse, multi30k, tatoeba, a set of TFDS, or a path."""
    data_dir: Path | None = None
    """Folder that holds data sets, one sub-folder each."""
    source: str | None = None
    """Language to translate from; the data set's own first language if not given."""
    target: str | None = None
    """Language of the references, which decides how BLEU cuts them into words."""
    split: SplitName = "test"
    """The pairs to measure on; "all" is train, dev and test together, the whole of a lone file."""
    merge_references: bool = False
    """Whether pairs of one source are one sentence with several references, as Tatoeba's are.
    Without it each pair counts for itself."""
    beam: Literal[1, 4, 8] = 4
    """How many beginnings are kept while a translation is searched; 1 is greedy."""
    hypotheses: Path | None = None
    """A file of translations, one a line, to be measured instead of a model."""
    references: Path | None = None
    """The file of what they should be, line by line."""
    seed: int = 0
    """Seed by which a lone file is cut into splits; give the one of the training."""

    def __post_init__(self) -> None:
        """Refuses half a pair of files.

        Raises:
          UserError: one line that names the option.
        """
        if (self.hypotheses is None) != (self.references is None):
            raise UserError("--hypotheses and --references: expected both files, or neither")
        if self.hypotheses is not None and self.target is None:
            raise UserError("--target: expected the language of the references, zh say")


class Evaluation(NamedTuple):
    """What a split shows.

    Attributes:
      report: scores.
      sources: the source sentences.
      references: what humans wrote, one text or several for each of them.
      hypotheses: what the model wrote.
      seconds: what translating took, once the model was ready.
    """

    report: TranslationReport
    sources: list[str]
    references: list[list[str]]
    hypotheses: list[str]
    seconds: float


def evaluate(
    model: ServedTranslator,
    pairs: Iterable[ParallelRow],
    language: str,
    *,
    beam_size: int = 4,
    merge_references: bool = False,
) -> Evaluation:
    """Runs a served model over pairs.

    Args:
      model: a loaded SavedModel.
      pairs: read once, a batch at a time.
      language: of the references.
      beam_size: see `ServedTranslator`.
      merge_references: whether pairs of one source are one sentence with several references.
    """
    rows = list(pairs)
    sources = [row.source for row in rows]
    references = [[row.target] for row in rows]
    if merge_references:
        merged: dict[str, list[str]] = {}
        for source, texts in zip(sources, references, strict=True):
            merged.setdefault(source, []).extend(texts)
        sources, references = list(merged), list(merged.values())
    # Sentences of about the same length share a batch, which waits for its longest one.
    by_length = sorted(range(len(sources)), key=lambda row: len(sources[row]))
    hypotheses = [""] * len(sources)
    model(sources[:1], beam_size=beam_size)  # the first call takes seconds, whatever it translates
    started = time.monotonic()
    for batch in batched(by_length, SENTENCES_PER_BATCH):
        texts, _ = model([sources[row] for row in batch], beam_size=beam_size)
        for row, text in zip(batch, texts, strict=True):
            hypotheses[row] = text
    seconds = time.monotonic() - started
    lengths, _ = model.count_tokens(sources)
    report = score_translations(
        hypotheses, references, language=language, source_lengths=(lengths - 1).tolist()
    )
    return Evaluation(report, sources, references, hypotheses, seconds)


def main(config: EvaluateConfig) -> None:
    """Measure a translator on a split of a data set, or translations in a file."""
    if config.hypotheses is not None and config.references is not None:
        hypotheses, references = read_parallel(config.hypotheses, config.references)
        report = score_translations(hypotheses, references, language=config.target)
        facts = {"hypotheses": str(config.hypotheses), "references": str(config.references)}
    else:
        model = load_translation_model(config.saved_model)
        dataset = load_parallel_dataset(
            config.dataset,
            source_language=config.source,
            target_language=config.target,
            data_dir=config.data_dir,
            seed=config.seed,
        )
        splits = splits_to_measure(dataset, config.split, config.dataset)
        evaluation = evaluate(
            model,
            chain.from_iterable(splits),
            dataset.target_language,
            beam_size=config.beam,
            merge_references=config.merge_references,
        )
        report = evaluation.report
        facts = {
            "saved_model": str(config.saved_model),
            "dataset": dataset.name,
            "sha256": dataset.sha256,
            "languages": [dataset.source_language, dataset.target_language],
            "split": config.split,
            "beam": config.beam,
            "sentences_per_second": round(len(evaluation.sources) / evaluation.seconds, 1),
        }
    print(report.table())
    rows = {"rows": report.num_sentences}
    signatures = {"signatures": report.signatures()}
    print(json.dumps({**facts, **rows, **report.scalars(), **signatures}, ensure_ascii=False))


def read_parallel(hypotheses: Path, references: Path) -> tuple[list[str], list[str]]:
    """Reads two files line by line.

    Raises:
      UserError: a file cannot be read, is empty, or has fewer lines than the other.
    """
    pairs = list(zip_longest(read_lines(hypotheses), read_lines(references)))
    for number, (hypothesis, reference) in enumerate(pairs, start=1):
        if hypothesis is None or reference is None:
            ended = hypotheses if hypothesis is None else references
            other = references if hypothesis is None else hypotheses
            raise UserError(f"{ended}: ends before line {number} of {other}: expected as many")
    if not pairs:
        raise UserError(f"{references}: has no lines to measure")
    return [hypothesis for hypothesis, _ in pairs], [reference for _, reference in pairs]


if __name__ == "__main__":
    run_project(main, EvaluateConfig)

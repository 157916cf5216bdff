"""Measures an exported news classifier: what is measured is what is shipped.

    python projects/news/evaluate.py --saved-model RUN/saved_model --dataset thucnews --data-dir DIR
    python projects/news/evaluate.py --saved-model A/saved_model B/saved_model …

Several models answer together: their probabilities are averaged. Prints a table for people and,
last, one line of JSON for programs.
"""

import heapq
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from projects.news.predict import DEFAULT_MODEL
from tfcamp.cli import run_project
from tfcamp.data.measured_rows import SplitName, splits_to_measure
from tfcamp.data.sources import TextRow, load_text_dataset
from tfcamp.errors import UserError
from tfcamp.export.saved_model import ServedTextClassifier, load_text_classifier
from tfcamp.metrics.classification import ClassificationMetrics, ClassificationReport
from tfcamp.text.corpus import batched

import numpy as np

ROWS_PER_BATCH = 512


@dataclass(frozen=True)
class EvaluateConfig:
    """Options of ``evaluate.py``."""

    saved_model: tuple[Path, ...] = (DEFAULT_MODEL,)
    """The folder of a SavedModel; several answer with the mean of their probabilities."""
    dataset: str = "sample"
    """As in train.py: sample, thucnews, tianchi_news, or a path to your own rows."""
    data_dir: Path | None = None
    """Folder that holds data sets, one sub-folder each."""
    split: SplitName = "test"
    """The rows to measure on; "all" is train, dev and test together, the whole of a lone file."""
    seed: int = 0
    """Seed by which a lone file is split; give the one of the training."""


class Mistake(NamedTuple):
    """A row that the model got wrong, and how sure it was of its answer."""

    probability: float
    text: str
    label: str
    predicted: str


class Ensemble:
    """Several served models with the same classes as one: the mean of their probabilities."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Loads the models.

        Raises:
          UserError: there is none, or one cannot be loaded or has other classes than the first.
        """
        if not folders:
            raise UserError("--saved-model: expected the folder of a SavedModel, or several")
        self._models = [load_text_classifier(folder) for folder in folders]
        self.classes = self._models[0].classes
        for folder, model in zip(folders, self._models, strict=True):
            if model.classes != self.classes:
                raise UserError(f"{folder} has other classes than {folders[0]}")

    def __call__(self, texts: Sequence[str | bytes]) -> np.ndarray:
        """Returns the probabilities float32[B, C] of texts."""
        return np.mean([model(texts) for model in self._models], axis=0)


class Evaluation(NamedTuple):
    """What a split shows.

    Attributes:
      report: scores; None where the rows carry no labels (a competition's test file).
      mistakes: the most confident ones, the surest first.
      predictions: int32[N], the class of each row.
    """

    report: ClassificationReport | None
    mistakes: list[Mistake]
    predictions: np.ndarray


def evaluate(
    model: ServedTextClassifier | Ensemble,
    rows: Iterable[TextRow],
    classes: tuple[str, ...],
    *,
    num_mistakes: int = 30,
) -> Evaluation:
    """Runs a served model over rows.

    Args:
      model: a loaded SavedModel, or several.
      rows: read once, a batch at a time; all of them carry labels, or none.
      classes: the names behind the rows' labels.
      num_mistakes: how many of the most confident mistakes to keep.

    Raises:
      UserError: the rows have a class that the model does not know.
    """
    unknown = [name for name in classes if name not in model.classes]
    if unknown:
        raise UserError(
            f"the model does not know the class {unknown[0]}: it knows {' '.join(model.classes)}; "
            "give --saved-model RUN/saved_model of a run on these classes, or another --dataset"
        )
    ids = np.array([model.classes.index(name) for name in classes], np.int32)
    metrics = ClassificationMetrics(model.classes)
    mistakes: list[Mistake] = []
    predictions = []
    labelled = True
    for batch in batched(rows, ROWS_PER_BATCH):
        probabilities = model([row.text for row in batch])
        predicted = probabilities.argmax(axis=1)
        predictions.append(predicted.astype(np.int32))
        labelled = batch[0].label is not None
        if labelled:
            labels = ids[[row.label for row in batch]]
            metrics.update(labels, probabilities)
            wrong = _mistakes(batch, labels, predicted, probabilities, model.classes)
            mistakes = heapq.nlargest(num_mistakes, [*mistakes, *wrong])
    report = metrics.result() if labelled else None
    return Evaluation(report, mistakes, np.concatenate(predictions))


def main(config: EvaluateConfig) -> None:
    """Measure an exported news classifier on a split of a data set."""
    dataset = load_text_dataset(config.dataset, data_dir=config.data_dir, seed=config.seed)
    splits = splits_to_measure(dataset, config.split, config.dataset)
    for split in splits:
        if not split.labelled:
            raise UserError(f"--split {config.split}: {split.path} has no labels to measure by")
    model = Ensemble(config.saved_model)
    report = evaluate(model, chain.from_iterable(splits), dataset.classes).report
    assert report is not None
    print(report.table())
    print(
        json.dumps(
            {
                "saved_model": [str(folder) for folder in config.saved_model],
                "dataset": dataset.name,
                "sha256": dataset.sha256,
                "split": config.split,
                "rows": sum(map(len, splits)),
                **report.scalars(),
            },
            ensure_ascii=False,
        )
    )


def _mistakes(
    batch: list[TextRow],
    labels: np.ndarray,
    predicted: np.ndarray,
    probabilities: np.ndarray,
    classes: tuple[str, ...],
) -> list[Mistake]:
    return [
        Mistake(
            float(probabilities[i, predicted[i]]),
            batch[i].text,
            classes[labels[i]],
            classes[predicted[i]],
        )
        for i in np.flatnonzero(predicted != labels)
    ]


if __name__ == "__main__":
    run_project(main, EvaluateConfig)

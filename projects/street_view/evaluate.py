"""Measures an exported reader of numbers: what is measured is what is shipped.

    python projects/street_view/evaluate.py --dataset street_view --data-dir DIR
    python projects/street_view/evaluate.py --saved-model A/saved_model B/saved_model … --dataset …

Several models answer together. For models that read one digit, each number is cut into its digits
by their boxes. Prints a table for people and, last, one line of JSON for programs.
"""

import heapq
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Protocol

from projects.street_view.data import load_rows
from projects.street_view.predict import DEFAULT_MODEL
from tfcamp.cli import run_project
from tfcamp.data.image_sources import ImageRow
from tfcamp.data.measured_rows import SplitName, splits_to_measure
from tfcamp.errors import UserError
from tfcamp.export.image_model import Reading, load_image_model
from tfcamp.metrics.sequence import NumberMetrics, NumberReport
from tfcamp.text.corpus import batched
from tfcamp.vision.digits import MAX_DIGITS, NO_DIGIT, numbers_to_labels

import numpy as np

ROWS_PER_BATCH = 128


@dataclass(frozen=True)
class EvaluateConfig:
    """Options of ``evaluate.py``."""

    saved_model: tuple[Path, ...] = (DEFAULT_MODEL,)
    """The folder of a SavedModel; several vote with their probabilities."""
    dataset: str = "sample"
    """As in train.py: sample, drawings, svhn_cropped, svhn_full, or the path of a folder."""
    data_dir: Path | None = None
    """Folder that holds data sets, one sub-folder each."""
    split: SplitName = "test"
    """The rows to measure on; "all" is train, dev and test together, the whole of a lone file."""
    use_boxes: bool = False
    """Whether pictures of dev and test are cut down to the number by the boxes of its digits."""
    margin: float = 0.15
    """With --use-boxes, what is left around a number, as a share of its height."""
    test_time_augmentation: bool = False
    """Whether each picture is looked at several times, a little wider, narrower and moved."""
    seed: int = 0
    """Seed by which a labels.csv without splits is cut; give the one of the training."""


class Reader(Protocol):
    """What reads images: a served model or several."""

    def __call__(self, images: Sequence[bytes], *, several_views: bool = False) -> Reading:
        """Reads images, contents of PNG or JPEG files."""
        ...


class Ensemble:
    """Several served models as one: the number with the greatest sum of probabilities.

    Attributes:
      reads_numbers: whether they read whole numbers, or one digit.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        """Loads the models.

        Raises:
          UserError: there is none, one cannot be loaded, or they read different things.
        """
        if not folders:
            raise UserError("--saved-model: expected the folder of a SavedModel, or several")
        self._models = [load_image_model(folder) for folder in folders]
        pairs = zip(folders, self._models, strict=True)
        of_one_digit = [folder for folder, model in pairs if not model.reads_numbers]
        if 0 < len(of_one_digit) < len(folders):
            raise UserError(
                f"--saved-model {of_one_digit[0]}: reads one digit, others read whole numbers; "
                "expected models of one kind"
            )
        self.reads_numbers = not of_one_digit

    def __call__(self, images: Sequence[bytes], *, several_views: bool = False) -> Reading:
        """Returns the numbers, and the mean probability that the models gave them."""
        readings = [model(images, several_views=several_views) for model in self._models]
        votes: list[dict[str, float]] = [{} for _ in images]
        for numbers, probabilities in readings:
            for vote, number, probability in zip(votes, numbers, probabilities, strict=True):
                vote[number] = vote.get(number, 0.0) + float(probability) / len(readings)
        numbers = [max(vote, key=lambda number: vote[number]) for vote in votes]
        probabilities = [vote[number] for vote, number in zip(votes, numbers, strict=True)]
        return Reading(numbers, np.array(probabilities, np.float32))


class Mistake(NamedTuple):
    """A picture that the model read wrongly, and how sure it was of its answer."""

    probability: float
    name: str
    number: str
    predicted: str
    image: bytes


class Evaluation(NamedTuple):
    """What a split shows.

    Attributes:
      report: scores; None where the rows carry no numbers (a competition's test file).
      mistakes: the most confident ones, the surest first.
      names: the names of the rows.
      numbers: what was read of each.
    """

    report: NumberReport | None
    mistakes: list[Mistake]
    names: list[str]
    numbers: list[str]


def evaluate(
    model: Reader, rows: Iterable[ImageRow], *, num_mistakes: int = 30, several_views: bool = False
) -> Evaluation:
    """Runs a served model over rows.

    Args:
      model: a loaded SavedModel, or several.
      rows: read once, a batch at a time; all of them carry numbers, or none.
      num_mistakes: how many of the most confident mistakes to keep.
      several_views: see `tfcamp.export.image_model.NumberService.read_several_views`.
    """
    metrics = NumberMetrics()
    mistakes: list[Mistake] = []
    names: list[str] = []
    read: list[str] = []
    labelled = True
    for batch in batched(rows, ROWS_PER_BATCH):
        reading = model([row.image for row in batch], several_views=several_views)
        names += [row.name for row in batch]
        read += reading.numbers
        labelled = batch[0].number is not None
        if labelled:
            true = [row.number for row in batch]
            metrics.update(numbers_to_labels(true), _labels(reading.numbers))
            wrong = [
                Mistake(float(probability), row.name, row.number, number, row.image)
                for row, number, probability in zip(batch, *reading, strict=True)
                if number != row.number
            ]
            mistakes = heapq.nlargest(num_mistakes, [*mistakes, *wrong])
    report = metrics.result() if labelled else None
    return Evaluation(report, mistakes, names, read)


def main(config: EvaluateConfig) -> None:
    """Measure an exported reader of numbers on a split of a data set."""
    model = Ensemble(config.saved_model)
    dataset = load_rows(
        config.dataset,
        data_dir=config.data_dir,
        seed=config.seed,
        digits=not model.reads_numbers,
        use_boxes=config.use_boxes,
        margin=config.margin,
    )
    splits = splits_to_measure(dataset, config.split, config.dataset)
    for split in splits:
        if not split.labelled:
            raise UserError(
                f"--split {config.split}: {split.origin} has no numbers to measure by; "
                "predict.py --submission writes what a model reads there"
            )
    rows = chain.from_iterable(splits)
    report = evaluate(model, rows, several_views=config.test_time_augmentation).report
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


def _labels(numbers: Sequence[str]) -> np.ndarray:
    """Returns int32[B, 6] of numbers, which may be empty."""
    labels = np.full((len(numbers), MAX_DIGITS), NO_DIGIT, np.int32)
    for row, number in zip(labels, numbers, strict=True):
        row[: len(number)] = [int(digit) for digit in number]
    return labels


if __name__ == "__main__":
    run_project(main, EvaluateConfig)

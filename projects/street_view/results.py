"""What a finished run leaves behind: figures, the report, metrics.json and the table on screen."""

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from projects.street_view.config import StreetConfig
from projects.street_view.data import StreetData
from projects.street_view.evaluate import Evaluation
from tfcamp.data.image_sources import ImageSplit, write_number_submission
from tfcamp.environment import describe_environment
from tfcamp.export.image_model import ServedImageModel
from tfcamp.figures import (
    NumberTile,
    Section,
    Table,
    accuracy_by_length,
    confusion_matrix,
    figure_svg,
    learning_curves,
    number_grid,
    save_figure,
    write_report,
)
from tfcamp.metrics.sequence import NumberReport
from tfcamp.runs import Run
from tfcamp.vision.images import decode_images

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

# How large pictures are drawn.
_TILE_HEIGHT, _TILE_WIDTH = 64, 128
_NUM_HEAT_MAPS = 10
_PANELS = {
    "Loss": {"train_loss": "train", "dev_loss": "dev"},
    "Right on dev": {"dev_accuracy": "numbers", "dev_digit_accuracy": "digits"},
    "Learning rate": {"learning_rate": ""},
}


def write_results(
    run: Run,
    config: StreetConfig,
    data: StreetData,
    model: ServedImageModel,
    history: Sequence[Mapping[str, float]],
    evaluations: Mapping[str, Evaluation],
    facts: Mapping[str, Any],
) -> None:
    """Writes everything and prints where it is.

    Args:
      run: the run; finished by this.
      config: its options.
      data: what it was trained on.
      model: what came out, as it is served.
      history: one record for each evaluation during training.
      evaluations: by split, of the exported model.
      facts: further entries of metrics.json.
    """
    splits = {
        name: {"rows": len(evaluation.numbers), **evaluation.report.scalars()}
        for name, evaluation in evaluations.items()
        if evaluation.report is not None
    }
    metrics = {
        "dataset": {"name": data.dataset.name, "sha256": data.dataset.sha256},
        "seed": config.seed,
        "wall_time": {"value": round(run.seconds, 1), "unit": "s"},
        "units": {
            "accuracy": "share of whole numbers in [0, 1]",
            "digit_accuracy": "share of digits in [0, 1]",
            "edit_distance": "digits a number",
            "length_accuracy": "share of numbers in [0, 1]",
            "flops": "multiplications and additions of a forward pass of one image",
        },
        **facts,
        **splits,
    }
    # The split that decides nothing, where there is one with numbers.
    shown = "test" if "test" in splits else "dev"
    rows = data.dataset.test if shown == "test" else data.dataset.dev
    report = evaluations[shown].report
    assert rows is not None and report is not None
    figures = _figures(model, history, rows, evaluations[shown], report, int(facts["best_step"]))
    for note in {save_figure(figure, run.figures, name).note for name, figure in figures.items()}:
        if note:
            run.say(note)
    write_report(
        run.folder / "report.html",
        title="House numbers",
        subtitle=f"{config.model} on {data.dataset.name}, {len(data.train):,} training rows",
        config=dataclasses.asdict(config),
        metrics={
            f"{shown} accuracy": splits[shown]["accuracy"],
            **splits,
            "parameters": facts["parameters"],
            "seconds": metrics["wall_time"]["value"],
        },
        sections=_sections(figures, evaluations[shown], report),
        environment=describe_environment(),
    )
    for name, evaluation in evaluations.items():
        if evaluation.report is None:
            path = run.folder / "submission.csv"
            write_number_submission(path, evaluation.names, evaluation.numbers)
            run.say(f"{name} has no numbers to measure by: what was read is in {path}")
    run.finish(metrics)
    for line in _table(splits):
        run.say(line)
    run.say(f"report      {run.home / 'report.html'}")
    run.say(f"SavedModel  {facts['saved_model']}")


def _figures(
    model: ServedImageModel,
    history: Sequence[Mapping[str, float]],
    rows: ImageSplit,
    shown: Evaluation,
    report: NumberReport,
    best_step: int,
) -> dict[str, Figure]:
    figures = {
        "learning_curves": learning_curves(history, panels=_PANELS, best_step=best_step),
        "accuracy_by_length": accuracy_by_length(report.by_length),
        "confusion_matrix": confusion_matrix(report.confusion, [*"0123456789", "none"]),
    }
    if shown.mistakes:
        images = _pixels([mistake.image for mistake in shown.mistakes])
        tiles = [
            NumberTile(image, mistake.number, mistake.predicted, mistake.probability)
            for image, mistake in zip(images, shown.mistakes, strict=True)
        ]
        figures["worst_mistakes"] = number_grid(tiles)
    first = list(islice(rows, _NUM_HEAT_MAPS))
    encoded = [row.image for row in first]
    heatmaps = model.heatmaps(encoded)
    if heatmaps is not None:
        reading = model(encoded)
        tiles = [
            NumberTile(image, row.number or "", number, float(probability), heat)
            for image, row, number, probability, heat in zip(
                _pixels(encoded), first, *reading, heatmaps, strict=True
            )
        ]
        figures["heat_maps"] = number_grid(tiles)
    return figures


def _pixels(encoded: Sequence[bytes]) -> np.ndarray:
    """Returns pictures as they are drawn, uint8[B, H, W, 3]."""
    images = decode_images(tf.constant(list(encoded)), _TILE_HEIGHT, _TILE_WIDTH).images
    return np.round(images.numpy() * 255).astype(np.uint8)


def _sections(
    figures: Mapping[str, Figure], shown: Evaluation, report: NumberReport
) -> list[Section]:
    mistakes = [
        (mistake.name, mistake.number, mistake.predicted, mistake.probability)
        for mistake in shown.mistakes
    ]
    texts = {
        "learning_curves": (
            "Learning curves",
            "The dashed line marks the weights that were kept: the best on the dev split.",
        ),
        "accuracy_by_length": (
            "Accuracy by length",
            "A number is right if all its digits are: the more there are, the harder it is.",
        ),
        "confusion_matrix": (
            "Confusion of digits",
            "Rows are true digits, columns what was read, after numbers were aligned by the fewest "
            "changes. None: a digit that is not there, or was not read.",
        ),
        "worst_mistakes": (
            "The most confident mistakes",
            "Read these first: what the model cannot tell apart, and labels that look wrong. In "
            "colour what was read, in brackets what the label says.",
        ),
        "heat_maps": (
            "Where the model looks",
            "The first pictures of the split. Bright is what speaks for the number that was read "
            "(Grad-CAM).",
        ),
    }
    tables = {
        "accuracy_by_length": Table(
            ["digits", "accuracy", "right length", "rows"], [[*row] for row in report.by_length]
        ),
        "worst_mistakes": Table(["picture", "true", "read", "probability"], mistakes),
    }
    return [
        Section(title, text, figure_svg(figures[name]), table=tables.get(name))
        for name, (title, text) in texts.items()
        if name in figures
    ]


def _table(splits: Mapping[str, Mapping[str, float]]) -> list[str]:
    measures = ("rows", "accuracy", "digit_accuracy", "edit_distance", "length_accuracy")
    lines = ["".join([f"{'':<18}", *(f"{split:>10}" for split in splits)])]
    for measure in measures:
        values = (scores[measure] for scores in splits.values())
        cells = [f"{value:>10,}" if measure == "rows" else f"{value:>10.4f}" for value in values]
        lines.append(f"{measure.replace('_', ' '):<18}" + "".join(cells))
    return lines

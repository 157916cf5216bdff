"""What a finished run leaves behind: figures, the report, metrics.json and the table on screen."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from projects.news.config import NewsConfig
from projects.news.data import NewsData, evaluation_stream
from projects.news.evaluate import Evaluation
from tfcamp.data.sources import write_submission
from tfcamp.environment import describe_environment
from tfcamp.figures import (
    Section,
    Table,
    calibration,
    class_scores,
    class_table,
    confusion_matrix,
    figure_svg,
    learning_curves,
    save_figure,
    word_map,
    write_report,
)
from tfcamp.runs import Run

import keras
import numpy as np
from matplotlib.figure import Figure

WORDS_ON_MAP = 200


def write_results(
    run: Run,
    config: NewsConfig,
    data: NewsData,
    model: keras.Model,
    history: Sequence[Mapping[str, float]],
    evaluations: Mapping[str, Evaluation],
    facts: Mapping[str, Any],
) -> None:
    """Writes everything and prints where it is.

    Args:
      run: the run; finished by this.
      config: its options.
      data: what it was trained on.
      model: what came out.
      history: one record for each evaluation during training.
      evaluations: by split, of the exported model.
      facts: further entries of metrics.json.
    """
    splits = {
        name: {"rows": len(evaluation.predictions), **evaluation.report.scalars()}
        for name, evaluation in evaluations.items()
        if evaluation.report is not None
    }
    metrics = {
        "dataset": {"name": data.dataset.name, "sha256": data.dataset.sha256},
        "seed": config.seed,
        "wall_time": {"value": round(run.seconds, 1), "unit": "s"},
        "units": {
            "accuracy": "share in [0, 1]",
            "macro_f1": "in [0, 1]",
            "weighted_f1": "in [0, 1]",
            "loss": "nats",
            "expected_calibration_error": "in [0, 1]",
        },
        **facts,
        **splits,
    }
    # The split that decides nothing, where there is one with labels.
    shown = "test" if "test" in splits else "dev"
    best_step = int(facts["best_step"])
    figures = _figures(config, data, model, history, evaluations[shown], best_step)
    for note in {save_figure(figure, run.figures, name).note for name, figure in figures.items()}:
        if note:
            run.say(note)
    write_report(
        run.folder / "report.html",
        title="News classification",
        subtitle=f"{config.model} on {data.dataset.name}, {len(data.train):,} training rows",
        config=dataclasses.asdict(config),
        metrics={
            f"{shown} accuracy": splits[shown]["accuracy"],
            **splits,
            "parameters": facts["parameters"],
            "seconds": metrics["wall_time"]["value"],
        },
        sections=_sections(figures, evaluations[shown]),
        environment=describe_environment(),
    )
    for name, evaluation in evaluations.items():
        if evaluation.report is None:
            path = _write_predictions(run, config, data, evaluation)
            run.say(f"{name} has no labels: the predictions are in {path}")
    run.finish(metrics)
    for line in _table(splits):
        run.say(line)
    run.say(f"report      {run.home / 'report.html'}")
    run.say(f"SavedModel  {facts['saved_model']}")


def _write_predictions(
    run: Run, config: NewsConfig, data: NewsData, evaluation: Evaluation
) -> Path:
    """Writes the competition's submission file, or else one class name a line."""
    if config.dataset == "tianchi_news":
        path = run.folder / "submission.csv"
        write_submission(path, evaluation.predictions)
    else:
        path = run.folder / "predictions.txt"
        names = (data.dataset.classes[number] for number in evaluation.predictions)
        path.write_text("".join(f"{name}\n" for name in names), "utf-8")
    return path


def _figures(
    config: NewsConfig,
    data: NewsData,
    model: keras.Model,
    history: Sequence[Mapping[str, float]],
    shown: Evaluation,
    best_step: int,
) -> dict[str, Figure]:
    assert shown.report is not None
    report = shown.report
    figures = {
        "learning_curves": learning_curves(history, best_step=best_step),
        "class_scores": class_scores(report.per_class),
        "confusion_matrix": confusion_matrix(report.confusion, data.dataset.classes),
        "calibration": calibration(report.calibration, error=report.expected_calibration_error),
    }
    words = _words_to_map(data)
    if words:
        figures["word_map"] = _word_map(config, data, model, words)
    return figures


def _words_to_map(data: NewsData) -> list[int]:
    """Returns the ids of the most frequent words, or of the characters where there are no words."""
    stream = data.train.streams[0]
    tokens = data.encoder.vocabularies[stream].tokens
    long = [i for i, token in enumerate(tokens) if i > 1 and len(token) > (stream == "word")]
    return long[:WORDS_ON_MAP]


def _word_map(
    config: NewsConfig, data: NewsData, model: keras.Model, words: Sequence[int]
) -> Figure:
    """Draws words, given by their ids, coloured by the class that they speak for most."""
    stream = data.train.streams[0]
    tokens = data.encoder.vocabularies[stream].tokens
    counts = np.zeros((len(data.dataset.classes), len(tokens)))
    for inputs, labels, _ in evaluation_stream(config, data.train).batches(num_epochs=1):
        np.add.at(counts, (labels[:, None], inputs[stream]), 1)
    shares = counts[:, words] / np.maximum(counts[:, 2:].sum(axis=1, keepdims=True), 1)
    return word_map(
        [tokens[i] for i in words],
        model.get_layer(f"{stream}_embedding").embeddings.numpy()[words],
        [data.dataset.classes[i] for i in shares.argmax(axis=0)],
    )


def _sections(figures: Mapping[str, Figure], shown: Evaluation) -> list[Section]:
    assert shown.report is not None
    mistakes = [
        (mistake.text, mistake.label, mistake.predicted, mistake.probability)
        for mistake in shown.mistakes
    ]
    sections = [
        Section(
            "Learning curves",
            "The dashed line marks the weights that were kept: the best on the dev split.",
            figure_svg(figures["learning_curves"]),
        ),
        Section(
            "Classes",
            "Precision: how much of what was called this class is of it. Recall: how much of this "
            "class was found. F1: their harmonic mean.",
            figure_svg(figures["class_scores"]),
            table=class_table(shown.report.per_class),
        ),
        Section(
            "Confusion matrix",
            "Rows are true classes, columns predicted ones.",
            figure_svg(figures["confusion_matrix"]),
        ),
        Section(
            "Calibration",
            "Where the model says 80 %, is it right 8 times in 10?",
            figure_svg(figures["calibration"]),
        ),
        Section(
            "The most confident mistakes",
            "Read these first: what the model cannot tell apart, and labels that look wrong.",
            table=Table(["text", "true", "predicted", "probability"], mistakes),
        ),
    ]
    if "word_map" in figures:
        text = "Frequent words by the vectors that training left them with; near means alike."
        sections.append(Section("Map of words", text, figure_svg(figures["word_map"])))
    return sections


def _table(splits: Mapping[str, Mapping[str, float]]) -> list[str]:
    measures = ("rows", "accuracy", "macro_f1", "loss", "expected_calibration_error")
    names = {"macro_f1": "macro F1", "expected_calibration_error": "calibration error"}
    lines = ["".join([f"{'':<18}", *(f"{split:>10}" for split in splits)])]
    for measure in measures:
        values = (scores[measure] for scores in splits.values())
        cells = [f"{value:>10,}" if measure == "rows" else f"{value:>10.4f}" for value in values]
        lines.append(f"{names.get(measure, measure):<18}" + "".join(cells))
    return lines

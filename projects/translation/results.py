"""What a finished run leaves behind: figures, the report, metrics.json and the table on screen."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from projects.translation.config import TranslationConfig
from projects.translation.data import TranslationData
from projects.translation.evaluate import Evaluation
from projects.translation.predict import on_one_line
from tfcamp.environment import describe_environment
from tfcamp.export.translation_model import ServedTranslator
from tfcamp.figures import (
    Section,
    attention_map,
    bleu_by_length,
    figure_svg,
    learning_curves,
    save_figure,
    translation_table,
    write_report,
)
from tfcamp.runs import Run

from matplotlib.figure import Figure

_PANELS = {
    "Loss, nats a token": {"train_loss": "train, smoothed", "dev_loss": "dev"},
    "BLEU on dev, greedy": {"dev_bleu": ""},
    "Tokens foreseen on dev": {"dev_token_accuracy": ""},
    "Learning rate": {"learning_rate": ""},
}
_NUM_EXAMPLES = 30
_NUM_MAPS = 3
# A map of a longer sentence is too large for the page.
_LONGEST_MAP = 20


def write_results(
    run: Run,
    config: TranslationConfig,
    data: TranslationData,
    model: ServedTranslator,
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
        name: {
            "rows": len(evaluation.hypotheses),
            **evaluation.report.scalars(),
            "signatures": evaluation.report.signatures(),
        }
        for name, evaluation in evaluations.items()
    }
    dataset = data.dataset
    languages = [dataset.source_language, dataset.target_language]
    metrics = {
        "dataset": {"name": dataset.name, "sha256": dataset.sha256, "languages": languages},
        "seed": config.seed,
        "wall_time": {"value": round(run.seconds, 1), "unit": "s"},
        "units": {
            "bleu": "sacreBLEU in [0, 100], of the exported model with beam 4; low and high are "
            "the ends of its 95 % interval",
            "chrf": "chrF2 in [0, 100], likewise",
            "exact_match": "share of the sentences in [0, 1]",
            "length_ratio": "tokens written for each token of the references",
            "dev_perplexity": "of the references, teacher-forced, for each subword",
            "dev_token_accuracy": "share of the subwords in [0, 1], teacher-forced",
        },
        **facts,
        **splits,
    }
    # The split that decides nothing, where there is one.
    shown = "test" if "test" in splits else "dev"
    figures = _figures(model, history, evaluations[shown], int(facts["best_step"]))
    for note in {save_figure(figure, run.figures, name).note for name, figure in figures.items()}:
        if note:
            run.say(note)
    write_report(
        run.folder / "report.html",
        title="Translation",
        subtitle=f"{config.model} on {dataset.name}, {' to '.join(languages)}, "
        f"{len(data.train):,} training pairs",
        config=dataclasses.asdict(config),
        metrics={
            f"{shown} BLEU": splits[shown]["bleu"],
            **{name: evaluation.report.scalars() for name, evaluation in evaluations.items()},
            "dev_perplexity": facts["dev_perplexity"],
            "parameters": facts["parameters"],
            "seconds": metrics["wall_time"]["value"],
        },
        sections=_sections(figures, evaluations[shown]),
        environment=describe_environment(),
    )
    for name, evaluation in evaluations.items():
        text = "".join(f"{on_one_line(text)}\n" for text in evaluation.hypotheses)
        target = run.folder / f"translations.{name}.{dataset.target_language}"
        target.write_text(text, "utf-8")
    run.finish(metrics)
    for name, evaluation in evaluations.items():
        rate = len(evaluation.hypotheses) / max(evaluation.seconds, 1e-9)
        run.say(f"{name} ({len(evaluation.hypotheses):,} sentences, {rate:,.1f} a second)")
        run.say(f"  {evaluation.report.bleu}")
        run.say(f"  {evaluation.report.chrf}")
        run.say(f"  {evaluation.report.exact_match:.1%} are the reference, letter by letter")
    for note in evaluations[shown].report.notes:
        run.say(f"note: {note}")
    if "train" in evaluations:
        run.say(
            "So few sentences can be learnt by heart; that new ones come out worse is what a small "
            "sample can teach. Give --dataset more pairs for a translator."
        )
    run.say(f"report      {run.home / 'report.html'}")
    run.say(f"SavedModel  {facts['saved_model']}")


def _figures(
    model: ServedTranslator,
    history: Sequence[Mapping[str, float]],
    shown: Evaluation,
    best_step: int,
) -> dict[str, Figure]:
    figures = {
        "learning_curves": learning_curves(history, panels=_PANELS, best_step=best_step),
        "bleu_by_length": bleu_by_length(shown.report.by_length, unit="subwords"),
    }
    lengths, _ = model.count_tokens(shown.sources)
    fitting = [
        source
        for source, length in zip(shown.sources, lengths, strict=True)
        if 3 < length <= _LONGEST_MAP
    ]
    maps = model.attention(fitting[:_NUM_MAPS]) or []
    for number, attention in enumerate(maps, start=1):
        figures[f"attention_{number}"] = attention_map(*attention)
    return figures


def _sections(figures: Mapping[str, Figure], shown: Evaluation) -> list[Section]:
    first_references = [texts[0] for texts in shown.references]
    examples = translation_table(
        *(column[:_NUM_EXAMPLES] for column in (shown.sources, shown.hypotheses, first_references))
    )
    texts = {
        "learning_curves": (
            "Learning curves",
            "The dashed line marks the weights that were kept: the best on the dev split.",
        ),
        "bleu_by_length": (
            "BLEU by length",
            f"{shown.report.bleu}; {shown.report.chrf}. A BLEU without its signature cannot be "
            "compared with another.",
        ),
    }
    sections = [
        Section(title, text, figure_svg(figures[name]), table=None)
        for name, (title, text) in texts.items()
    ]
    sections.append(Section("Examples", "The first sentences of the split.", table=examples))
    maps = [name for name in figures if name.startswith("attention_")]
    for name in maps:
        text = (
            "Each row is a subword that was written, and where the model looked for it: the mean "
            "over layers and heads. ␣ stands for a space."
        )
        sections.append(Section("Where the model looks", text, figure_svg(figures[name])))
    return sections

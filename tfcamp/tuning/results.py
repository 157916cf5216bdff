"""What a search leaves behind: the table on screen, figures, the report and metrics.json."""

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfcamp.config_files import as_json
from tfcamp.environment import describe_environment
from tfcamp.figures import (
    Section,
    Table,
    figure_svg,
    option_scores,
    save_figure,
    trial_scores,
    write_report,
)
from tfcamp.runs import Run
from tfcamp.tuning.trials import Trial, best_of, shown

_ROWS_ON_SCREEN = 20


def write_results(
    run: Run, trials: Sequence[Trial], *, project: str, score: str, larger_is_better: bool
) -> None:
    """Writes everything and prints where it is.

    Args:
      run: the folder of the search; finished by this.
      trials: all of them, in the order of their numbers; at least one has a score.
      project: the name of its folder in ``projects``.
      score: the name of the score.
      larger_is_better: False for a loss.
    """
    best = best_of(trials, larger_is_better=larger_is_better)
    assert best is not None and best.score is not None
    paused = (
        " Those of fewer epochs were measured while their learning rate was still high."
        if len({trial.epochs for trial in trials}) > 1
        else ""
    )
    table = trial_table(trials, score, larger_is_better=larger_is_better)
    scores = [trial.score for trial in trials]
    values = {name: [shown(trial.values[name]) for trial in trials] for name in best.values}
    drawn: dict[str, Any] = {"name": f"dev {score}", "larger_is_better": larger_is_better}
    figures = {
        "trials": trial_scores(scores, **drawn),
        "options": option_scores(values, scores, **drawn),
    }
    for name, figure in figures.items():
        save_figure(figure, run.figures, name)
    seconds = wall_time(trials)
    first = trials[0]
    write_report(
        run.folder / "report.html",
        title="Search",
        subtitle=f"{project}: {len(trials)} trials, by dev {score}",
        config=dataclasses.asdict(best.config),
        metrics={
            f"best dev {score}": best.score,
            "first trial": first.score,
            "trials": len(trials),
            "seconds": round(seconds),
        },
        sections=[
            Section(
                "Trials",
                "The first has the options as they were given. The best was chosen by the dev "
                "split, so chance favours it there: what it is worth, the test split says. An "
                "arrow stands for a trial whose score is off the scale." + paused,
                figure_svg(figures["trials"]),
            ),
            Section(
                "Options",
                "Each point is a trial. An option that matters shows a slope or a hill; for one "
                "that does not, keep the default.",
                figure_svg(figures["options"]),
            ),
            Section("All trials", "The best first.", table=table),
        ],
        environment=describe_environment(),
    )
    run.finish(
        {
            "score": {"name": score, "split": "dev", "larger_is_better": larger_is_better},
            "best": best.number,
            "wall_time": {"value": round(seconds, 1), "unit": "s"},
            "trials": [
                {
                    "number": trial.number,
                    "values": as_json(trial.values),
                    "score": trial.score,
                    "epochs": trial.epochs or None,
                    "seconds": round(trial.seconds, 1),
                    "folder": str(trial.folder),
                    "failure": trial.failure,
                }
                for trial in trials
            ],
        }
    )
    for line in table_lines(table, most_rows=_ROWS_ON_SCREEN):
        run.say(line)
    given = ""
    if first.score is not None:
        given = f"; trial 1, the options as given: {first.score:.4f}"
        if first.epochs != best.epochs:
            given += f" after {first.epochs} of {best.epochs} epochs"
    run.say(f"best: trial {best.number}, dev {score} {best.score:.4f}{given}")
    run.say(f"report      {run.home / 'report.html'}")
    run.say(f"options     {run.home / 'best.json'}")
    run.say(
        f"next        python {Path('projects', project, 'train.py')} --config "
        f"{shlex.quote(str(run.home / 'best.json'))} --run-dir {shlex.quote(str(best.folder))}"
    )


def trial_table(trials: Sequence[Trial], score: str, *, larger_is_better: bool) -> Table:
    """Returns all trials, the best first, those without a score last."""
    sign = -1 if larger_is_better else 1
    ordered = sorted(
        trials,
        key=lambda trial: (trial.score is None, sign * (trial.score or 0.0), trial.number),
    )
    has_epochs = any(trial.epochs for trial in trials)
    header = ["trial", score, *(["epochs"] if has_epochs else []), "seconds"]
    rows = [
        [
            trial.number,
            "failed" if trial.score is None else trial.score,
            *([trial.epochs] if has_epochs else []),
            round(trial.seconds),
            *map(shown, trial.values.values()),
        ]
        for trial in ordered
    ]
    return Table([*header, *trials[0].values], rows)


def table_lines(table: Table, *, most_rows: int) -> list[str]:
    r"""Returns a table of trials as text; a header of several words stands in several lines.

    >>> table = Table(["trial", "accuracy", "learning_rate"], [[2, 0.5, 0.001], [1, "failed", 0.3]])
    >>> print("\n".join(table_lines(table, most_rows=1)))
                     learning
    trial  accuracy      rate
        2    0.5000     0.001
    and 1 more
    """
    rows = [
        [str(number), f"{score:.4f}" if isinstance(score, float) else score, *map(str, rest)]
        for number, score, *rest in table.rows[:most_rows]
    ]
    heads = [name.split("_") for name in table.header]
    height = max(map(len, heads))
    lines = [[""] * (height - len(head)) + head for head in heads]
    grid = [*zip(*lines, strict=True), *rows]
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    text = [
        "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
        for row in grid
    ]
    hidden = len(table.rows) - len(rows)
    return [*text, f"and {hidden} more"] if hidden else text


def wall_time(trials: Sequence[Trial]) -> float:
    """Returns the seconds of all trials; those that share a run folder went on with one another."""
    by_folder: dict[Path, float] = {}
    for trial in trials:
        by_folder[trial.folder] = max(trial.seconds, by_folder.get(trial.folder, 0.0))
    return sum(by_folder.values())


def duration(seconds: float) -> str:
    """Returns a time as one says it.

    >>> duration(80), duration(1500)
    ('80 s', '25 min')
    """
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"

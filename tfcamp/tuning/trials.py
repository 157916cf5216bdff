"""A trial of a search: some options, and what came of them."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfcamp.errors import Diverged


@dataclass
class Trial:
    """One trial: to be run, then with its result.

    Attributes:
      number: from 1.
      config: its options, the run folder among them.
      values: the searched ones of them.
      epochs: after which it pauses; 0 for all of them.
      score: the best on the dev split; None while it is unknown.
      seconds: wall time of its run folder.
      failure: one line that says why there will be no score.
    """

    number: int
    config: Any
    values: dict[str, Any]
    epochs: int = 0
    score: float | None = None
    seconds: float = 0.0
    failure: str | None = None

    @property
    def folder(self) -> Path:
        """Its run folder; a trial that Hyperband goes on with has that of the earlier one."""
        return self.config.run_dir

    @property
    def has_ended(self) -> bool:
        """Whether there is a score, or never will be."""
        return self.score is not None or self.failure is not None

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """Takes a loss that is not finite for a result; any other error ends the search."""
        try:
            yield
        except Diverged as error:
            self.failure = str(error)


def best_of(trials: Sequence[Trial], *, larger_is_better: bool) -> Trial | None:
    """Returns the trial with the best score, the first of equal ones; None where none has one.

    Of trials that Hyperband paused only those with the most epochs are compared.

    >>> trials = [Trial(1, None, {}, score=0.5), Trial(2, None, {}), Trial(3, None, {}, score=0.4)]
    >>> [best_of(trials, larger_is_better=larger).number for larger in (True, False)]
    [1, 3]
    >>> trials = [Trial(1, None, {}, epochs=1, score=0.9), Trial(2, None, {}, epochs=3, score=0.8)]
    >>> best_of(trials, larger_is_better=True).number
    2
    """
    known = [trial for trial in trials if trial.score is not None]
    longest = max((trial.epochs for trial in known), default=0)
    known = [trial for trial in known if trial.epochs == longest]
    sign = -1 if larger_is_better else 1
    return min(known, key=lambda trial: sign * (trial.score or 0.0), default=None)


def best_options(trial: Trial) -> dict[str, Any]:
    """Returns the options of a trial for ``train.py --config``.

    They are those that were searched, and those that differ from their defaults.
    """
    return {
        field.name: getattr(trial.config, field.name)
        for field in dataclasses.fields(trial.config)
        if field.name in trial.values
        or (field.name != "run_dir" and getattr(trial.config, field.name) != field.default)
    }


def tidy(value: Any) -> Any:
    """Returns a proposed value as a person would write it: three digits are enough to search with.

    >>> tidy(0.0023871), tidy(0.30000000000000004), tidy(128)
    (0.00239, 0.3, 128)
    """
    return float(f"{value:.3g}") if isinstance(value, float) else value


def shown(value: Any) -> Any:
    """Returns a value for tables and figures: what was left to train.py is no value.

    >>> shown(0.3), shown(None)
    (0.3, 'not given')
    """
    return "not given" if value is None else value


def as_arguments(values: dict[str, Any]) -> str:
    """Returns options as one writes them on the command line; those not given follow as a remark.

    >>> as_arguments({"learning_rate": 0.001, "joint_vocabulary": False})
    '--learning-rate 0.001 --no-joint-vocabulary'
    >>> as_arguments({"dropout": None, "norm": "pre"})
    '--norm pre (not given: --dropout)'
    """
    words, not_given = [], []
    for name, value in values.items():
        option = name.replace("_", "-")
        if value is None:
            not_given.append(f"--{option}")
        elif isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words.append(f"--{option} {value}")
    if not_given:
        words.append(f"(not given: {', '.join(not_given)})")
    return " ".join(words)

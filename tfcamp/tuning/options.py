"""The options of a search, and what they say about it."""

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import keras_tuner
import tyro
from keras_tuner.engine import hyperparameters

from tfcamp.data.storage import as_path, is_remote
from tfcamp.errors import UserError
from tfcamp.tuning.oracles import Algorithm, hyperband_trials

_MAX_TRIALS = 20


@dataclass(frozen=True)
class TuningOptions:
    """What ``tune.py`` takes beside the options of ``train.py``, which all its trials share."""

    tuner: Algorithm = "random"
    """random draws values, bayesian learns from earlier trials where to look, hyperband begins many
    trials and goes on with the best third of them; it needs --epochs."""
    max_trials: int | None = None
    """Trials in all, the first with the options as given; if not given, 20, or one pass of
    hyperband. A search that has ended goes on where more are asked for."""
    search: tuple[str, ...] = ()
    """Options to search, of those in search_space(); if not given, all that keep their defaults."""
    keep_weights: bool = False
    """Whether the checkpoints of all trials are kept, not only those of the best one."""
    run_dir: Path | None = None
    """Folder of the search, old or new; runs/<project>-tuning/<date-time> if not given."""
    export_dir: Annotated[Path | None, tyro.conf.Suppress] = None
    """Trials are not exported."""


Role = Literal["alone", "chief", "worker"]


def find_role(options: TuningOptions) -> Role:
    """Returns which part of a search this process has.

    Raises:
      UserError: its environment is incomplete, or it does not know the folder of the others.
    """
    if "KERASTUNER_ORACLE_IP" not in os.environ:
        return "alone"
    for name in ("KERASTUNER_ORACLE_PORT", "KERASTUNER_TUNER_ID"):
        if name not in os.environ:
            raise UserError(f"KERASTUNER_ORACLE_IP is set, but {name} is not: set it as well")
    if options.run_dir is None:
        raise UserError("give --run-dir: a folder that the chief and all workers share")
    return "chief" if "chief" in os.environ["KERASTUNER_TUNER_ID"] else "worker"


def shared_config(options: Any, config_class: type) -> Any:
    """Returns the options that all trials share.

    Raises:
      UserError: a search cannot be made with them.
    """
    if options.max_trials is not None and options.max_trials < 1:
        raise UserError(f"--max-trials {options.max_trials}: expected at least 1")
    if options.tuner == "hyperband" and options.epochs is None:
        raise UserError("--tuner hyperband: give --epochs, the most that a trial may take")
    if options.strategy == "multi_worker":
        raise UserError(
            "--strategy multi_worker: each trial runs in one process; several processes share a "
            "search by KERASTUNER_TUNER_ID"
        )
    if options.run_dir is not None and is_remote(as_path(options.run_dir)):
        raise UserError(f"--run-dir {options.run_dir}: expected a folder on a disk")
    shared = {
        field.name: getattr(options, field.name) for field in dataclasses.fields(config_class)
    }
    return config_class(**{**shared, "run_dir": None, "export_dir": None})


def searched_part(
    space: keras_tuner.HyperParameters, base: Any, chosen: Sequence[str]
) -> keras_tuner.HyperParameters:
    """Returns the part of a space that is searched; its defaults are the options as given.

    A default stays within the range: where the option is outside, or not given, it stands in for it
    before keras-tuner, which knows nothing else.

    Raises:
      UserError: nothing is left of it, or an option is not in it.
    """
    parameters = {parameter.name: parameter for parameter in space.space}
    chosen = [name.replace("-", "_") for name in chosen]
    for name in chosen:
        if name not in parameters:
            raise UserError(f"--search {name}: expected some of {', '.join(parameters)}")
    if not chosen:
        fields = {field.name: field for field in dataclasses.fields(base)}
        chosen = [name for name in parameters if getattr(base, name) == fields[name].default]
    if not chosen:
        raise UserError("all options of search_space() are given: name some with --search")
    part = keras_tuner.HyperParameters()
    part.merge([_begun_at(parameters[name], getattr(base, name)) for name in chosen])
    return part


def _begun_at(parameter: Any, given: Any) -> Any:
    """Returns a parameter whose default is the value in its range that is nearest to a given one.

    >>> rate = keras_tuner.HyperParameters()
    >>> _ = rate.Float("learning_rate", 0.1, 0.9, default=0.5)
    >>> [_begun_at(rate.space[0], given).default for given in (0.2, 7.0, None)]
    [0.2, 0.9, 0.5]
    """
    if isinstance(parameter, hyperparameters.Choice):
        if given is not None and parameter.ordered:
            given = min(parameter.values, key=lambda value: abs(value - given))
        elif given not in parameter.values:
            given = None
    elif given is not None and isinstance(parameter, hyperparameters.Float | hyperparameters.Int):
        given = min(max(given, parameter.min_value), parameter.max_value)
    if given is None or isinstance(parameter, hyperparameters.Fixed):
        return parameter
    return type(parameter).from_config({**parameter.get_config(), "default": given})


def count_trials(options: TuningOptions, config: Any) -> int:
    """Returns how many trials a search takes, those before included."""
    if options.max_trials is not None:
        return options.max_trials
    return hyperband_trials(config.epochs) if options.tuner == "hyperband" else _MAX_TRIALS

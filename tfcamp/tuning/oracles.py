"""What proposes the next trial: keras-tuner's oracles, which here begin with the options as given.

Hyperband (Li et al., 2018) is about epochs. It begins many trials, pauses each after a part of its
epochs and goes on with the best third; a pass of it does so several times, from many short trials
to few long ones.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any, Literal

import keras_tuner
from keras_tuner import oracles
from keras_tuner.engine.trial import Trial, TrialStatus
from sklearn.exceptions import ConvergenceWarning

Algorithm = Literal["random", "bayesian", "hyperband"]

# Hyperband goes on with one trial in so many.
FACTOR = 3


class _Told(keras_tuner.Oracle):
    """An oracle that proposes the defaults first, and says when a trial has ended."""

    on_end: Callable[[], None]
    stands_in: bool

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the values of the next trial."""
        proposed = super().populate_space(trial_id)
        if not self.trials and proposed["status"] == TrialStatus.RUNNING:
            defaults = {
                parameter.name: parameter.default for parameter in self.hyperparameters.space
            }
            proposed["values"] = {**proposed["values"], **defaults}
            if self.stands_in:  # unlike any other trial, so that one may have just these values
                proposed["values"]["tuner/stands_in"] = True
        return proposed

    @keras_tuner.synchronized
    def end_trial(self, trial: Trial) -> None:
        """Takes what came of a trial."""
        super().end_trial(trial)
        self.save()  # once more: what it saved counts the trial as running
        self.on_end()


class _RandomOracle(_Told, oracles.RandomSearchOracle):
    pass


class _HyperbandOracle(_Told, oracles.HyperbandOracle):
    pass


class _BayesianOracle(_Told, oracles.BayesianOptimizationOracle):
    def populate_space(self, trial_id: str) -> dict[str, Any]:
        with warnings.catch_warnings():
            # Of few points a Gaussian process often knows no best length scale.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return super().populate_space(trial_id)


def build_oracle(
    algorithm: Algorithm,
    objective: keras_tuner.Objective,
    space: keras_tuner.HyperParameters,
    *,
    max_trials: int,
    max_epochs: int | None,
    seed: int,
    stands_in: bool,
    on_end: Callable[[], None],
) -> keras_tuner.Oracle:
    """Builds what proposes trials.

    Args:
      algorithm: which one.
      objective: the score.
      space: what is searched.
      max_trials: how many trials in all.
      max_epochs: of a trial; only hyperband asks for it.
      seed: of the values that are drawn, at least 0.
      stands_in: whether the first trial has other values than the defaults that it is told by.
      on_end: called when a trial has ended.
    """
    common: dict[str, Any] = {
        "objective": objective,
        "hyperparameters": space,
        "allow_new_entries": False,
        "seed": seed + 1,  # keras-tuner takes 0 for "any"
        # Whoever runs the trials notices this; an oracle that serves others would only hang.
        "max_consecutive_failed_trials": max_trials + 1,
    }
    if algorithm == "hyperband":
        # Passes without end: max_trials says when it is enough.
        oracle = _HyperbandOracle(
            max_epochs=max_epochs, factor=FACTOR, hyperband_iterations=max_trials, **common
        )
        oracle.max_trials = max_trials
    elif algorithm == "bayesian":
        # As many random points as it takes to tell the options apart, then the model decides.
        num_points = len(space.space) + 1
        oracle = _BayesianOracle(max_trials=max_trials, num_initial_points=num_points, **common)
    else:
        oracle = _RandomOracle(max_trials=max_trials, **common)
    oracle.on_end = on_end
    oracle.stands_in = stands_in
    oracle.verbose = 0
    return oracle


def hyperband_trials(max_epochs: int) -> int:
    """Returns how many trials one pass of Hyperband takes, as keras-tuner rounds it.

    >>> hyperband_trials(9)  # 9 of 1 epoch, 3 of them on to 3, 1 to 9; 5 of 3, 2 to 9; 3 of 9
    23
    """
    num_brackets, epochs = 0, float(max_epochs)
    while epochs >= 1:
        num_brackets, epochs = num_brackets + 1, epochs / FACTOR
    in_last = math.ceil(1 + math.log(max_epochs, FACTOR))
    return sum(
        math.ceil(in_last / (bracket + 1) * FACTOR ** (bracket - round_number))
        for bracket in range(num_brackets)
        for round_number in range(bracket + 1)
    )

"""Searches for better options of train.py, by the score on the dev split.

python projects/street_view/tune.py --max-trials 6 --epochs 3             numbers drawn here
python projects/street_view/tune.py --dataset street_view --data-dir DIR --tuner bayesian
python projects/street_view/train.py --config RUN/best.json --run-dir RUN/trials/003    as it says
"""

from dataclasses import dataclass

from projects.street_view.config import MAY_DIFFER, StreetConfig
from projects.street_view.train import train
from tfcamp.cli import run_project
from tfcamp.runs import Run
from tfcamp.training.checkpoints import CheckpointFolder
from tfcamp.training.strategy import choose_strategy
from tfcamp.tuning.options import TuningOptions
from tfcamp.tuning.search import Search

from keras_tuner import HyperParameters


@dataclass(frozen=True)
class StreetTuning(TuningOptions, StreetConfig):
    """Options of ``tune.py``: those of ``train.py``, which all trials share, and the search's."""


def search_space(options: StreetTuning) -> HyperParameters:
    """Returns which options are searched, where, and on what scale; change it as you like."""
    space = HyperParameters()
    # Twice as much or half as much: what matters of a learning rate is the factor.
    space.Float("learning_rate", 5e-4, 8e-3, sampling="log", default=StreetConfig.learning_rate)
    space.Choice("batch_size", [16, 32, 64], default=StreetConfig.batch_size)
    space.Float("weight_decay", 1e-3, 1e-1, sampling="log", default=StreetConfig.weight_decay)
    space.Float("augmentation", 0.2, 1.0, step=0.2, default=options.augmentation_strength)
    space.Float("dropout", 0.0, 0.4, step=0.1, default=StreetConfig.dropout)
    if options.model != "ctc":  # whose labels are not smoothed
        space.Float("label_smoothing", 0.0, 0.1, step=0.05, default=StreetConfig.label_smoothing)
    return space


def main(options: StreetTuning) -> None:
    """Search for better options of train.py, by the score on the dev split."""
    strategy = choose_strategy(options.strategy, virtual_devices=options.virtual_devices)
    with Search(options, StreetConfig, search_space(options), project="street_view") as search:
        # A trial is a run of train.py without its end: no export, no look at the test split.
        for trial in search.trials():
            with (
                trial.attempt(),
                Run.open(trial.config, "street_view", may_differ=MAY_DIFFER) as run,
                CheckpointFolder(run.checkpoints, keep=1) as checkpoints,
            ):
                trial.score = train(
                    trial.config, strategy, run, checkpoints, trial_epochs=trial.epochs
                )
                trial.seconds = run.seconds
        search.finish()


if __name__ == "__main__":
    run_project(main, StreetTuning)

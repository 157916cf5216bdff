"""Searches for better options of train.py, by the score on the dev split.

python projects/translation/tune.py --max-trials 6 --epochs 20        the embedded sample
python projects/translation/tune.py --dataset multi30k --data-dir DIR --tuner hyperband --epochs 9
python projects/translation/train.py --config RUN/best.json --run-dir RUN/trials/003    as it says
"""

from dataclasses import dataclass

from projects.translation.config import MAY_DIFFER, TranslationConfig
from projects.translation.train import train
from tfcamp.cli import run_project
from tfcamp.runs import Run
from tfcamp.training.checkpoints import CheckpointFolder
from tfcamp.training.strategy import choose_strategy
from tfcamp.tuning.options import TuningOptions
from tfcamp.tuning.search import Search

from keras_tuner import HyperParameters


@dataclass(frozen=True)
class TranslationTuning(TuningOptions, TranslationConfig):
    """Options of ``tune.py``: those of ``train.py``, which all trials share, and the search's."""


def search_space() -> HyperParameters:
    """Returns which options are searched, where, and on what scale; change it as you like."""
    space = HyperParameters()
    # Twice as much or half as much: what matters of a learning rate is the factor.
    # If it is not given, trial 1 leaves it to train.py, which goes by the number of pairs.
    space.Float("learning_rate", 5e-4, 8e-3, sampling="log", default=4e-3)
    space.Float("warmup", 0.02, 0.3, sampling="log", default=TranslationConfig.warmup)
    space.Float("dropout", 0.1, 0.4, step=0.1, default=0.2)  # likewise
    space.Float("label_smoothing", 0.0, 0.2, step=0.05, default=TranslationConfig.label_smoothing)
    # 0.998 comes into force after 4,500 steps, 0.999 after 9,000: see WeightAverages.
    space.Choice(
        "average_decay", [0.99, 0.995, 0.998, 0.999], default=TranslationConfig.average_decay
    )
    return space


def main(options: TranslationTuning) -> None:
    """Search for better options of train.py, by the score on the dev split."""
    strategy = choose_strategy(options.strategy, virtual_devices=options.virtual_devices)
    with Search(options, TranslationConfig, search_space(), project="translation") as search:
        # A trial is a run of train.py without its end: no export, no look at the test split.
        for trial in search.trials():
            with (
                trial.attempt(),
                Run.open(trial.config, "translation", may_differ=MAY_DIFFER) as run,
                CheckpointFolder(run.checkpoints, keep=1) as checkpoints,
            ):
                trial.score = train(
                    trial.config, strategy, run, checkpoints, trial_epochs=trial.epochs
                )
                trial.seconds = run.seconds
        search.finish()


if __name__ == "__main__":
    run_project(main, TranslationTuning)

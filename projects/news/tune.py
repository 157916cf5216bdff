"""Searches for better options of train.py, by the score on the dev split.

python projects/news/tune.py --max-trials 8                                  the embedded sample
python projects/news/tune.py --dataset thucnews --data-dir DIR --tuner hyperband --epochs 4
python projects/news/train.py --config RUN/best.json --run-dir RUN/trials/003    as it says
"""

from dataclasses import dataclass

from projects.news.config import MAY_DIFFER, NewsConfig
from projects.news.train import train
from tfcamp.cli import run_project
from tfcamp.runs import Run
from tfcamp.training.checkpoints import CheckpointFolder
from tfcamp.training.strategy import choose_strategy
from tfcamp.tuning.options import TuningOptions
from tfcamp.tuning.search import Search

from keras_tuner import HyperParameters


@dataclass(frozen=True)
class NewsTuning(TuningOptions, NewsConfig):
    """Options of ``tune.py``: those of ``train.py``, which all trials share, and the search's."""


def search_space() -> HyperParameters:
    """Returns which options are searched, where, and on what scale; change it as you like."""
    space = HyperParameters()
    space.Choice("model", ["bilstm", "bigru", "rcnn", "textcnn"], default=NewsConfig.model)
    # Twice as much or half as much: what matters of a learning rate is the factor.
    space.Float("learning_rate", 1e-3, 1e-2, sampling="log", default=NewsConfig.learning_rate)
    space.Choice("width", [64, 96, 128, 192], default=NewsConfig.width)
    space.Float("dropout", 0.2, 0.6, step=0.1, default=NewsConfig.dropout)
    space.Float("token_dropout", 0.0, 0.4, step=0.1, default=NewsConfig.token_dropout)
    space.Float("label_smoothing", 0.0, 0.2, step=0.05, default=NewsConfig.label_smoothing)
    return space


# Options that word vectors know nothing of, so that one training of them serves all trials. Others,
# such as embedding_dim, may be searched too: each trial then trains its own.
AFTER_VECTORS = {"model", "learning_rate", "width", "dropout", "token_dropout", "label_smoothing"}


def main(options: NewsTuning) -> None:
    """Search for better options of train.py, by the score on the dev split."""
    strategy = choose_strategy(options.strategy, virtual_devices=options.virtual_devices)
    with Search(options, NewsConfig, search_space(), project="news") as search:
        # A trial is a run of train.py without its end: no export, no look at the test split.
        for trial in search.trials():
            with (
                trial.attempt(),
                Run.open(trial.config, "news", may_differ=MAY_DIFFER) as run,
                CheckpointFolder(run.checkpoints, keep=1) as checkpoints,
                search.shared_data(run, "vectors.*.npz", whatever=AFTER_VECTORS),
            ):
                trial.score = train(
                    trial.config, strategy, run, checkpoints, trial_epochs=trial.epochs
                )
                trial.seconds = run.seconds
        search.finish()


if __name__ == "__main__":
    run_project(main, NewsTuning)

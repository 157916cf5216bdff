"""One worker of a cluster that trains every model of tests/training/replicas.py, 20 steps each.

python tests/distributed/train_worker.py FOLDER
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from tests.training.replicas import MODELS, OPTIMIZERS, make_trainer, train
from tests.training.tiny import make_stream
from tfcamp.cli import run_project
from tfcamp.training.strategy import choose_strategy, is_chief, wait_for_workers


@dataclass(frozen=True)
class Config:
    """Where the chief writes the weights: FOLDER/<model>-<optimizer>.npz."""

    folder: tyro.conf.Positional[Path]


def main(config: Config) -> None:
    """Be a worker."""
    strategy = choose_strategy("multi_worker")
    chief = is_chief(strategy)
    stream = make_stream(config.folder / f"rows-{int(chief)}", batch_size=7)
    for model, build in MODELS.items():
        for optimizer in OPTIMIZERS:
            name = f"{model}-{optimizer}"
            checkpoints = config.folder / name
            trainer = make_trainer(checkpoints, strategy, build, optimizer, writes=chief)
            if not chief:  # as where word vectors differ from machine to machine
                trainer.model.set_weights([weight + 1.0 for weight in trainer.model.get_weights()])
            trainer.restore()
            weights = train(trainer, stream)
            logits = trainer.predict(stream)
            if chief:
                np.savez(config.folder / f"{name}.npz", *weights, logits=logits)
    wait_for_workers(strategy)


if __name__ == "__main__":
    run_project(main, Config)

"""The run of a training: its folder and its checkpoints, the same for all workers of a cluster."""

import contextlib
from collections.abc import Collection, Iterator
from typing import Any

import tensorflow as tf

from tfcamp.errors import UserError
from tfcamp.export.folders import check_export_folder
from tfcamp.runs import Run
from tfcamp.training.checkpoints import CheckpointFolder
from tfcamp.training.strategy import (
    check_agreement,
    is_chief,
    lost_workers_named,
    shared_time,
    wait_for_workers,
)


@contextlib.contextmanager
def open_training_run(
    config: Any, project: str, strategy: tf.distribute.Strategy, *, may_differ: Collection[str]
) -> Iterator[tuple[Run, CheckpointFolder]]:
    """Opens the run of a project's config, of which only the chief writes.

    At the end of the block the workers wait for each other: the chief may still be exporting.

    Args:
      config: a dataclass with the fields ``run_dir``, ``export_dir``, ``epochs``, ``max_steps`` and
        ``patience``.
      project: its name.
      strategy: of :func:`tfcamp.training.strategy.choose_strategy`.
      may_differ: fields that a run that goes on may change.

    Raises:
      UserError: a folder cannot be used, the workers see different runs, or one of them was lost.
    """
    chief = is_chief(strategy)
    if config.export_dir is not None and chief:
        check_export_folder(config.export_dir)
        if config.run_dir is not None and config.export_dir.resolve() == config.run_dir.resolve():
            raise UserError(
                f"--export-dir {config.export_dir} is the run folder, which holds other files: "
                "name another one, or none for RUN/saved_model"
            )
    stamp = shared_time(strategy)
    with (
        lost_workers_named(),
        Run.open(config, project, may_differ=may_differ, chief=chief, stamp=stamp) as run,
        CheckpointFolder(run.checkpoints, writes=chief) as checkpoints,
    ):
        check_agreement(
            strategy,
            int(run.is_finished(config)),
            f"--run-dir {run.home}: the workers see different runs; it must be a folder that all "
            "of them share, and their options the same",
        )
        yield run, checkpoints
        wait_for_workers(strategy)

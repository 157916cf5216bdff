"""News runs that take seconds: few steps of a small model on the embedded headlines."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from projects.news.config import NewsConfig
from tfcamp.training.callbacks import ProgressBar
from tfcamp.training.progress import Progress


def tiny_config(run_dir: Path, **changes) -> NewsConfig:
    """A bag of characters, one epoch of 18 steps or a few more, dropout of both kinds on."""
    config = NewsConfig(
        run_dir=run_dir,
        tokens="char",
        model="bow",
        vectors="none",
        epochs=1,
        batch_size=64,
        embedding_dim=8,
        width=8,
        num_buckets=100,
        steps_per_call=4,
        learning_rate=0.05,
    )
    return dataclasses.replace(config, **changes)


def as_arguments(config: NewsConfig) -> list[str]:
    """The command line of a config."""
    arguments = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value != field.default:
            option = "--" + field.name.replace("_", "-")
            arguments += [option, str(value)]
    return arguments


def acting_bar(step: int, act: Callable[[], None]) -> type[ProgressBar]:
    """A progress bar that does something at a step."""

    class ActingBar(ProgressBar):
        def __call__(self, progress: Progress) -> None:
            super().__call__(progress)
            if progress.step >= step:
                act()

    return ActingBar

"""News runs that take seconds: few steps of a small model on the embedded headlines."""

import dataclasses
from pathlib import Path

from projects.news.config import NewsConfig


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

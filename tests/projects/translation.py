"""Translation runs that take seconds: few steps of a small model on a few everyday sentences."""

import dataclasses
from itertools import islice
from pathlib import Path

from projects.translation.config import TranslationConfig
from tfcamp.data.parallel_sources import load_parallel_dataset

NUM_ROWS = {"train": 60, "dev": 12, "test": 8}
# Characters of a sentence, which are subwords where there are so few sentences.
_LONGEST = 24


def write_pairs(folder: Path) -> Path:
    """A folder with short English and Chinese sentences of the sample."""
    folder.mkdir()
    sample = load_parallel_dataset("sample", data_dir=None, seed=0)
    short = (pair for pair in sample.train if len(pair.source) <= _LONGEST)
    for split, num_rows in NUM_ROWS.items():
        lines = [f"{pair.source}\t{pair.target}\n" for pair in islice(short, num_rows)]
        (folder / f"{split}.tsv").write_text("".join(["en\tzh\n", *lines]), "utf-8")
    return folder


def tiny_config(run_dir: Path, pairs: Path | str, **changes) -> TranslationConfig:
    """One layer of width 16 that reads and one that writes, two epochs, dropout on."""
    config = TranslationConfig(
        dataset=str(pairs),
        run_dir=run_dir,
        max_tokens=24,
        vocabulary_size=480,
        character_coverage=0.98,
        width=16,
        num_layers=1,
        num_heads=2,
        inner_width=32,
        epochs=2,
        batch_tokens=128,
        learning_rate=0.02,
        average_decay=0.9,
        precision="float32",  # whatever the machine is good at
        steps_per_call=2,
    )
    return dataclasses.replace(config, **changes)


def as_arguments(config: TranslationConfig) -> list[str]:
    """The command line of a config."""
    arguments = []
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), field.name.replace("_", "-")
        if value == field.default:
            continue
        if isinstance(value, bool):
            arguments.append(f"--{name}" if value else f"--no-{name}")
        else:
            arguments += [f"--{name}", str(value)]
    return arguments

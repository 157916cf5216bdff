"""Street-view runs that take seconds: few steps of a small model on few drawings."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from projects.street_view.config import StreetConfig
from tfcamp.data import image_sources
from tfcamp.data.image_sources import rendered_split

NUM_ROWS = {"train": 40, "dev": 12, "test": 12}


def tiny_config(run_dir: Path, **changes) -> StreetConfig:
    """A LeNet that reads whole numbers, two epochs of five steps, dropout on."""
    config = StreetConfig(
        run_dir=run_dir,
        train_rows=NUM_ROWS["train"],
        trunk="lenet5",
        image_height=24,
        image_width=48,
        head_width=16,
        width_multiplier=1.0,
        batch_size=8,
        epochs=2,
        steps_per_call=2,
        precision="float32",  # whatever the machine is good at
        augmentation=1.0,
    )
    return dataclasses.replace(config, **changes)


def as_arguments(config: StreetConfig) -> list[str]:
    """The command line of a config."""
    arguments = []
    for field in dataclasses.fields(config):
        value, option = getattr(config, field.name), "--" + field.name.replace("_", "-")
        if value != field.default:
            arguments += [option] if value is True else [option, str(value)]
    return arguments


@contextlib.contextmanager
def few_drawings() -> Iterator[None]:
    """The sample with few drawings to measure on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_sources, "SAMPLE_ROWS", NUM_ROWS)
        yield


def write_competition(folder: Path, *, boxes: bool = True, labelled_test: bool = True) -> Path:
    """A folder in the competition's layout with the drawings of the tiny sample."""
    for split, stem in (("train", "train"), ("dev", "val"), ("test", "test")):
        (folder / stem).mkdir(parents=True)
        entries = {}
        for row in rendered_split(split, NUM_ROWS[split]):
            (folder / stem / row.name).write_bytes(row.image)
            assert row.number is not None and row.boxes is not None
            entry: dict = {"label": [int(digit) for digit in row.number]}
            if boxes:
                columns = np.asarray(row.boxes).T.tolist()
                entry |= dict(zip(("left", "top", "width", "height"), columns, strict=True))
            entries[row.name] = entry
        if split != "test" or labelled_test:
            (folder / f"{stem}.json").write_text(json.dumps(entries), "utf-8")
    return folder

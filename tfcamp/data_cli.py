"""The commands ``tfcamp data list``, ``fetch`` and ``check``."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from tfcamp.errors import UserError

app = tyro.extras.SubcommandApp()


@app.command(name="list")
def list_datasets(data_dir: Path | None = None) -> None:
    """Show the data sets that projects know by name, and where each one is.

    Args:
      data_dir: Folder that holds data sets; $TFDS_DATA_DIR or ~/tensorflow_datasets if not given.
    """
    from tfcamp.data.catalogue import CATALOGUE
    from tfcamp.data.sources import default_data_dir
    from tfcamp.data.storage import as_path

    places = [default_data_dir()] if data_dir is None else [as_path(data_dir), default_data_dir()]
    print(f"{'':<22}rows of train / dev / test")
    project = None
    for dataset in CATALOGUE:
        if dataset.project != project:
            project = dataset.project
            print(f"\nprojects/{project}")
        found = next((place for place in places if dataset.is_in(place)), None)
        if dataset.embedded:
            where = "comes with tfcamp"
        elif found is not None:
            where = f"in {dataset.folder_in(found)}"
            if found != places[0]:
                where += ", which is TFDS's folder: leave --data-dir out"
        elif dataset.by_hand:
            where = f"not here: {dataset.by_hand.format(folder=dataset.folder_in(places[0]))}"
        else:
            where = f"not here: tfcamp data fetch {dataset.name}{_option(data_dir)}"
        print(f"  {dataset.name:<20}{dataset.content}")
        facts = "; ".join(filter(None, (dataset.size, dataset.licence)))
        for line in filter(None, (facts, where)):
            print(f"{'':<22}{line}")


@app.command(name="fetch")
def fetch_dataset(
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")],
    /,
    data_dir: Path | None = None,
) -> None:
    """Download a data set to where --data-dir expects it.

    What breaks off is taken up where it stopped by the same command.

    Files are compared with upstream's checksums before they are put in place.

    Args:
      name: As tfcamp data list shows it: thucnews, say.
      data_dir: Folder that holds data sets; $TFDS_DATA_DIR or ~/tensorflow_datasets if not given.
    """
    from tfcamp.data import catalogue
    from tfcamp.data.sources import default_data_dir
    from tfcamp.data.storage import as_path, is_remote

    root = default_data_dir() if data_dir is None else as_path(data_dir)
    if is_remote(root):
        raise UserError(f"--data-dir {root}: expected a folder of this machine; copy it from there")
    was_there = catalogue.find_dataset(name).is_in(root)
    dataset = catalogue.fetch_dataset(name, root)
    if dataset.embedded:
        print(f"{name} comes with tfcamp: there is nothing to fetch")
    else:
        there = "is there already" if was_there else "has come"
        print(f"{name} {there}: {dataset.folder_in(root)} ({dataset.licence})")
        for difference in dataset.differences_in(root) if was_there else ():
            print(f"not upstream's file: {difference}")
    print(f"\n{_train_command(dataset.project, name)}{_option(data_dir)}")


@app.command(name="check")
def check_dataset(
    path: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")],
    /,
    task: Literal["news", "street_view", "translation"] | None = None,
    source: str | None = None,
    target: str | None = None,
    seed: int = 0,
) -> None:
    """Read your own files as a project would, and tell what would harm training.

    Rows, labels, lengths, repeated rows, rows that stand in two splits.

    Exit status
    0: nothing was found
    1: something would harm training or its score
    2: the project cannot read it; the message says where and why

    Args:
      path: What --dataset will be: a file, a folder, or two files of lines (a.en,a.zh).
      task: The project that is to read it; guessed from the files if not given.
      source: Language to translate from, as in train.py.
      target: Language to translate into, as in train.py.
      seed: What the random cut of a lone file depends on, as in train.py.
    """
    from tfcamp.data import checks
    from tfcamp.data.catalogue import CATALOGUE
    from tfcamp.data.storage import bring_here

    here, _ = bring_here(path, None)
    read_as = task or checks.guess_task(here)
    report = checks.check_dataset(
        here, read_as, source_language=source, target_language=target, seed=seed
    )
    print(f"{path}: {report.kind}, as projects/{read_as} reads them")
    for table in report.tables:
        print()
        print("\n".join(_aligned(table)))
    for title, lines in (("notes", report.notes), ("findings", report.findings)):
        if lines:
            print(f"\n{title}")
            print("\n".join(f"  {line}" for line in lines))
    if report.findings:
        sys.exit(1)
    is_known = any(path == dataset.name for dataset in CATALOGUE)
    command = _train_command(read_as, os.path.join(os.curdir, path) if is_known else path)
    for option, language in (("--source", source), ("--target", target)):
        if language is not None:
            command += f" {option} {shlex.quote(language)}"
    print(f"\nnothing was found that would harm training:\n{command}")


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a table; its last column stands to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "".join(f"  {cell:>{width}}" for cell, width in zip(row[:-1], widths, strict=False))
        + f"  {row[-1]}".rstrip()
        for row in table
    ]


def _train_command(project: str, dataset: str) -> str:
    return f"python projects/{project}/train.py --dataset {shlex.quote(dataset)}"


def _option(data_dir: Path | None) -> str:
    return "" if data_dir is None else f" --data-dir {shlex.quote(str(data_dir))}"

"""Labelled text data sets by name or path: `load_text_dataset` is the one door.

Every file is read through once when it is opened, which counts its classes and names the first bad
row as ``file:line``; afterwards rows are streamed from disk at each iteration, so that the memory
does not depend on the file. The file formats are described in `tfcamp.data.text_files`.
"""

import dataclasses
import difflib
import importlib.resources
import os
from pathlib import Path

from tfcamp.data.datasets.thucnews import upstream
from tfcamp.data.storage import bring_here
from tfcamp.data.text_files import READERS, format_of, read_text_file, split_name
from tfcamp.data.text_splits import (
    ClassList,
    TextDataset,
    TextRow,
    TextSplit,
    cut_splits,
    held_out_split,
    sha256_of,
    training_split,
)
from tfcamp.data.text_tianchi import load_tianchi_news, refuse_path, write_submission
from tfcamp.errors import UserError

__all__ = [
    "TextDataset",
    "TextRow",
    "TextSplit",
    "default_data_dir",
    "load_text_dataset",
    "write_submission",
]

KNOWN_DATASETS = ("sample", "thucnews", "tianchi_news")
DEV_STEMS = ("dev", "val", "valid", "validation")
CLASS_FILES = ("class.txt", "labels.txt")


def load_text_dataset(dataset: str, *, data_dir: Path | None, seed: int) -> TextDataset:
    """Opens a data set of labelled texts.

    Args:
      dataset: one of

        - ``sample``: headlines that come with tfcamp;
        - ``thucnews``: ``DATA_DIR/thucnews/{train,dev,test,class}.txt``, downloaded if absent;
        - ``tianchi_news``: ``DATA_DIR/tianchi_news/train_set.csv`` and, optionally, ``test_a.csv``;
        - a folder with train, dev (or val, valid, validation) and optionally test files (.tsv,
          .txt, .csv or .jsonl, also with .gz); labels are names, or ids where a class.txt
          or labels.txt names the classes in order;
        - one such file, which is cut 80/10/10 at random, by class and text.

        A path is looked up from the working directory first, then in `data_dir`.
      data_dir: the folder that holds data sets, one sub-folder each; None for `default_data_dir()`.
        Either may be in a bucket (`gs://…`): it is copied to this machine first.
      seed: what the random cut of a lone file depends on.

    Returns:
      The data set; its `notes` are for the user to read.

    Raises:
      UserError: no such data set, no network, a file or a row that is not as expected.
    """
    dataset, data_dir = bring_here(dataset, data_dir)
    root = data_dir if data_dir is not None else default_data_dir()
    if dataset == "sample":
        folder = importlib.resources.files("tfcamp.data.samples") / "news"
        return _load_folder(Path(str(folder)), "sample")
    if dataset == "thucnews":
        return _load_thucnews(root / "thucnews")
    if dataset == "tianchi_news":
        return load_tianchi_news(root / "tianchi_news", seed=seed)
    for path in (Path(dataset).expanduser(), root / dataset):
        refuse_path(path)
        if path.is_dir():
            return _load_folder(path, path.resolve().name)
        if path.is_file():
            return _load_lone_file(path, seed)
    raise UserError(_unknown_dataset(dataset))


def default_data_dir() -> Path:
    """Returns the folder for data sets when none is named: TFDS's own (``$TFDS_DATA_DIR``)."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def _load_thucnews(folder: Path) -> TextDataset:
    """Opens the upstream files in a folder, fetching them first where they are not there."""
    if upstream.local_files(folder) is None:
        upstream.fetch(folder)
    dataset = _load_files(
        "thucnews",
        train_path=folder / "train.txt",
        dev_path=folder / "dev.txt",
        test_path=folder / "test.txt",
        class_path=folder / "class.txt",
    )
    found = (upstream.difference(name, folder / name) for name in upstream.FILES)
    differences = [difference for difference in found if difference is not None]
    if not differences:
        return dataset
    note = f"thucnews: not upstream's files: {'; '.join(differences)}; sha256 {dataset.sha256}"
    return dataclasses.replace(dataset, notes=(*dataset.notes, note))


def _load_folder(folder: Path, name: str) -> TextDataset:
    """Opens the files of a folder by their names."""
    train = _find_split(folder, ("train",))
    dev = _find_split(folder, DEV_STEMS)
    if train is None or dev is None:
        raise UserError(
            f"{folder}: has no {'train' if train is None else 'dev'} file; expected train and dev "
            f"(or {', '.join(DEV_STEMS[1:])}) and optionally test, each ending in "
            f"{', '.join(READERS)}, and optionally {' or '.join(CLASS_FILES)}"
        )
    class_paths = [path for path in _files_of(folder) if path.name.lower() in CLASS_FILES]
    return _load_files(
        name,
        train_path=train,
        dev_path=dev,
        test_path=_find_split(folder, ("test",)),
        class_path=_only(class_paths, folder),
    )


def _load_files(
    name: str, *, train_path: Path, dev_path: Path, test_path: Path | None, class_path: Path | None
) -> TextDataset:
    """Opens a data set whose splits are whole files."""
    classes = None if class_path is None else ClassList.read(class_path)
    train, classes = training_split(train_path, read_text_file, classes)
    dev = held_out_split(dev_path, read_text_file, classes, train, labelled=True)
    test = None
    if test_path is not None:
        test = held_out_split(test_path, read_text_file, classes, train, labelled=False)
    untrained = [
        name for name, count in zip(classes.names, train.class_counts, strict=True) if count == 0
    ]
    paths = (train_path, dev_path, test_path, class_path)
    return TextDataset(
        name=name,
        classes=classes.names,
        train=train,
        dev=dev,
        test=test,
        sha256=sha256_of(path for path in paths if path is not None),
        notes=(f"{train_path}: no row of class {', '.join(untrained)}",) if untrained else (),
    )


def _load_lone_file(path: Path, seed: int) -> TextDataset:
    """Cuts one file into the three splits."""
    whole, classes = training_split(path, read_text_file)
    train, dev, test = cut_splits(whole, (8, 1, 1), seed)
    return TextDataset(
        name=split_name(path)[0],
        classes=classes.names,
        train=train,
        dev=dev,
        test=test,
        sha256=sha256_of([path]),
        notes=(f"{path}: cut 80/10/10 into train, dev and test, by class and text, seed {seed}",),
    )


def _find_split(folder: Path, stems: tuple[str, ...]) -> Path | None:
    """Returns the file of a split, or None where there is none."""
    paths = [path for path in _files_of(folder) if split_name(path)[0] in stems]
    return _only([path for path in paths if format_of(path) in READERS], folder)


def _files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


def _only(paths: list[Path], folder: Path) -> Path | None:
    """Returns the one path, or None where there is none."""
    if len(paths) > 1:
        names = " and ".join(path.name for path in paths)
        raise UserError(f"{folder}: has {names}, which mean the same; expected one of them")
    return paths[0] if paths else None


def _unknown_dataset(dataset: str) -> str:
    """Says that there is no such data set, and what may have been meant."""
    if Path(dataset).name != dataset or format_of(Path(dataset)) in READERS:
        return f"{dataset}: no such file or folder"
    close = difflib.get_close_matches(dataset, KNOWN_DATASETS, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return (
        f"unknown data set {dataset!r}: {hint}expected {', '.join(KNOWN_DATASETS)}, or the path of "
        f"a folder or of a file that ends in {', '.join(READERS)}"
    )

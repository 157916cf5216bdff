"""A look at the user's own files, read as a project would read them: `check_dataset`."""

import json
import os
from itertools import islice
from pathlib import Path
from typing import Literal

from tfcamp.data.check_report import Report
from tfcamp.data.pair_check import check_pairs
from tfcamp.data.parallel_files import (
    LONE_SUFFIXES,
    columns_in_header,
    find_pair_files,
    holds_sentences,
)
from tfcamp.data.parallel_sources import load_parallel_dataset
from tfcamp.data.sources import load_text_dataset
from tfcamp.data.text_check import check_texts
from tfcamp.data.text_columns import names_label
from tfcamp.data.text_files import READERS, format_of, read_lines, split_name
from tfcamp.data.text_splits import SingleClassError
from tfcamp.data.text_tianchi import TRAIN_FILE
from tfcamp.errors import UserError

# Projects, which read labelled texts, pictures of numbers and sentence pairs.
Task = Literal["news", "street_view", "translation"]

_PICTURE_LABELS = ("train.json", "mchar_train.json")
_PICTURE_FILES = (*_PICTURE_LABELS, "train.npz", "labels.csv")
# Lines of a file of columns that tell whether one of them holds labels, which repeat.
_LINES_TO_JUDGE = 1000


def check_dataset(
    dataset: str,
    task: Task,
    *,
    source_language: str | None = None,
    target_language: str | None = None,
    seed: int = 0,
) -> Report:
    """Reads a data set as a project does, and tells what would harm training.

    The rows are streamed; of each, a few bytes are kept.

    Args:
      dataset: path of a file or folder, or the paths of two files of lines, ``a.en,a.zh``.
      task: the project that reads it.
      source_language: see :func:`tfcamp.data.parallel_sources.load_parallel_dataset`.
      target_language: see there.
      seed: what the random cut of a lone file depends on.

    Raises:
      UserError: the project cannot read it.
    """
    # Here it is a path, also where a known data set is called like it.
    dataset = os.path.join(os.curdir, os.path.expanduser(dataset))
    if task == "translation":
        pairs = load_parallel_dataset(
            dataset,
            source_language=source_language,
            target_language=target_language,
            data_dir=None,
            seed=seed,
        )
        return check_pairs(pairs)
    if task == "street_view":
        # These bring TensorFlow with them, which takes seconds that only pictures need cost.
        from tfcamp.data.image_check import check_images
        from tfcamp.data.image_sources import load_image_dataset

        return check_images(load_image_dataset(dataset, data_dir=None, seed=seed))
    try:
        return check_texts(load_text_dataset(dataset, data_dir=None, seed=seed))
    except SingleClassError as error:
        return Report("labelled texts", findings=[str(error)])


def guess_task(dataset: str) -> Task:
    """Returns which project reads such files.

    Raises:
      UserError: there is no such file or folder, or it is not like any project's.
    """
    if dataset.count(",") == 1 and not Path(dataset).exists():
        return "translation"
    path = Path(dataset).expanduser()
    if path.is_dir():
        return _guess_by_folder(path)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    if _is_of_pictures(path) or path.suffix.lower() == ".zip":
        return "street_view"
    if format_of(path) in LONE_SUFFIXES:
        return _guess_by_columns(path)
    if format_of(path) in READERS:
        return "news"
    raise UserError(
        f"{path}: expected labelled texts ({', '.join(READERS)}), sentence pairs "
        f"({', '.join(LONE_SUFFIXES)}, or two files of lines, as in a.en,a.zh) or a folder"
    )


def _guess_by_folder(folder: Path) -> Task:
    paths = [path for path in folder.iterdir() if path.is_file()]
    if any(map(_is_of_pictures, paths)):
        return "street_view"
    files = find_pair_files(folder).get("train")
    if files is not None and None not in files.paths:
        return "translation"
    if files is not None:
        return _guess_by_columns(files.paths[None])
    if any(split_name(path)[0] == "train" and format_of(path) in READERS for path in paths):
        return "news"
    if any(path.name == TRAIN_FILE for path in paths):
        return "news"  # which says how it is opened
    raise UserError(
        f"{folder}: expected labelled texts (train{', '.join(READERS)}), sentence pairs (train.tsv,"
        f" or train.en and train.zh) or pictures ({', '.join(_PICTURE_FILES)})"
    )


def _is_of_pictures(path: Path) -> bool:
    """Tells whether a file has a name of the street_view project's, and what it reads in it."""
    if path.name not in _PICTURE_LABELS:
        return path.name.lower() in _PICTURE_FILES
    if path.with_suffix(".zip").is_file() or path.with_suffix("").is_dir():
        return True
    # The competition's is one object, of an object for each picture; CLUE's news are called alike.
    first = next(filter(None, read_lines(path)), "")
    try:
        row = json.loads(first)
    except ValueError:
        return not first.startswith("[")
    return isinstance(row, dict) and any(isinstance(value, dict) for value in row.values())


def _guess_by_columns(path: Path) -> Task:
    """Tells labelled texts from sentence pairs by the columns of a tab-separated file."""
    lines = islice(filter(None, read_lines(path)), _LINES_TO_JUDGE)
    rows = [line.rstrip("\t").split("\t") for line in lines]  # a tab may end each line
    # A lone column is no pair, and what reads labels tells best what it expects.
    if not rows or len(rows[0]) < 2 or names_label(rows[0]):
        return "news"
    if columns_in_header(rows[0]) is not None:
        return "translation"
    # Labels repeat, also where they stand first by mistake, which the news project tells.
    columns = zip(*(fields for fields in rows if len(fields) == len(rows[0])), strict=True)
    sentences = [
        column
        for column in columns
        if holds_sentences(column) and len(set(column)) > len(column) / 2
    ]
    return "translation" if len(sentences) > 1 else "news"

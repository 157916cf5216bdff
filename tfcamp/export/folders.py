"""What all exports share: the folder of a SavedModel, written whole and read with care."""

import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import keras
import tensorflow as tf

from tfcamp.data.storage import as_path, is_remote
from tfcamp.errors import UserError

Served = TypeVar("Served")

# What TensorFlow writes into the folder of a SavedModel, and macOS where somebody looked into it.
_FILES = {"saved_model.pb", "fingerprint.pb", "variables", "assets", "assets.extra", ".DS_Store"}


def check_export_folder(folder: Path) -> None:
    """Makes sure that a folder can be made, or replaced, by an export; nothing else is deleted.

    Raises:
      UserError: it holds something else than a SavedModel, is in a bucket, or cannot be made.
    """
    if is_remote(as_path(folder)):
        raise UserError(
            f"--export-dir {as_path(folder)}: expected a folder on a disk; in a bucket it is "
            "RUN/saved_model"
        )
    if not folder.exists():
        above = next(place for place in folder.absolute().parents if place.exists())
        if not (above.is_dir() and os.access(above, os.W_OK)):
            raise UserError(f"--export-dir {folder}: a folder cannot be made in {above}")
        return
    files = set(os.listdir(folder)) if folder.is_dir() else None
    is_model = files is not None and "saved_model.pb" in files and files <= _FILES
    if files != set() and not is_model:
        raise UserError(
            f"{folder} holds something else than a SavedModel, which the export would delete: "
            "name another folder"
        )


def without_cudnn(model: keras.Model) -> keras.Model:
    """Returns the model, whose recurrent layers will compute in core ops from now on.

    On a machine with a GPU Keras would trace cuDNN's kernels into what is exported, which then runs
    on no CPU (Keras's issue 18504).
    """
    for layer in model._flatten_layers():
        if hasattr(layer, "use_cudnn"):
            layer.use_cudnn = False
    return model


def variables_of(model: keras.Model) -> list[tf.Variable]:
    """Returns what a module must hold of a Keras model, and hold in its place, to be served.

    A module that holds the model itself can be loaded by `tf.saved_model.load` and by nothing else.
    Keras 3 makes a second variable of each in the graph that is saved, and TensorFlow Serving and
    ``saved_model_cli`` restore those that nothing reads (TensorFlow's issue 72963).
    """
    return [weight.value for weight in model.weights]


def write_saved_model(folder: Path, service: tf.Module, signatures: Mapping[str, Any]) -> None:
    """Writes a SavedModel.

    Args:
      folder: replaced when the new model is complete.
      service: holds everything that the signatures need.
      signatures: functions by name.

    Raises:
      UserError: the folder holds something else, or cannot be written.
    """
    check_export_folder(folder)
    folder = folder.resolve()
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        tf.saved_model.save(service, str(partial), signatures=dict(signatures))
    except tf.errors.OpError as error:  # TensorFlow writes by itself: no OSError
        shutil.rmtree(partial, ignore_errors=True)
        raise UserError(
            f"{folder}: the SavedModel cannot be written: is the disk full or read-only? give the "
            "same command again once it is not"
        ) from error
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def open_saved_model(folder: Path, kind: str, load: Callable[[Path], Served]) -> Served:
    """Returns what ``load`` makes of the SavedModel in a folder.

    Args:
      folder: of the SavedModel.
      kind: what it should be, for the message.
      load: raises KeyError where a signature is missing.

    Raises:
      UserError: there is none, or it is damaged or of another kind.
    """
    if not (folder / "saved_model.pb").exists():
        inner = folder / "saved_model"
        hint = f"; is it {inner}?" if inner.is_dir() else ""
        raise UserError(f"{folder}: expected a SavedModel (a folder with saved_model.pb){hint}")
    try:
        return load(folder)
    except (OSError, KeyError, tf.errors.OpError) as error:
        raise UserError(
            f"{folder}: expected the SavedModel of {kind}, as train.py writes it to "
            "RUN/saved_model; this one is damaged or of another kind"
        ) from error


def newest_version(folder: Path) -> Path:
    """Returns the sub-folder with the largest number, or number 1 where there is none.

    Other names are no versions: ``2.partial`` is an export that did not end.
    """
    versions = [path for path in folder.glob("*") if re.fullmatch("[0-9]+", path.name)]
    return max(versions, key=lambda path: int(path.name), default=folder / "1")

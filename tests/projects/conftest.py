"""Finished runs of the projects, made once, and its commands run in this process."""

import contextlib
import io
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import pytest

from projects.news.train import main
from projects.street_view import train as street_train
from projects.translation import train as translation_train
from tests.projects import street, translation
from tests.projects.tiny import tiny_config
from tfcamp.cli import run_project
from tfcamp.export.translation_model import ServedTranslator, load_translation_model


class FinishedRun(NamedTuple):
    """A run folder and what was printed while it was made; tests must not change the folder."""

    folder: Path
    printed: str


class Answer(NamedTuple):
    """What a command leaves behind."""

    status: int
    out: str
    err: str


Command = Callable[..., Answer]


@pytest.fixture(autouse=True)
def dtype_policy():
    """A run sets Keras's policy for the whole process."""
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def bilstm_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """The default model on the default tokens, made small; half an epoch."""
    folder = tmp_path_factory.mktemp("bilstm") / "run"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        main(tiny_config(folder, model="bilstm", tokens="word+char", max_steps=8))
    return FinishedRun(folder, printed.getvalue())


@pytest.fixture(scope="session")
def bow_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """What an uninterrupted run of the plainest model leaves behind."""
    folder = tmp_path_factory.mktemp("bow") / "run"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        main(tiny_config(folder))
    return FinishedRun(folder, printed.getvalue())


@pytest.fixture(scope="session")
def longer_bow_run(bow_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """The same run after another epoch was asked for."""
    folder = tmp_path_factory.mktemp("longer") / "run"
    shutil.copytree(bow_run.folder, folder)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        main(tiny_config(folder, epochs=2))
    return FinishedRun(folder, printed.getvalue())


@pytest.fixture(scope="session")
def street_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A reader of whole numbers on a few drawings."""
    folder = tmp_path_factory.mktemp("street") / "run"
    printed = io.StringIO()
    with street.few_drawings(), contextlib.redirect_stdout(printed):
        street_train.main(street.tiny_config(folder))
    return FinishedRun(folder, printed.getvalue())


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a few English and Chinese sentences."""
    return translation.write_pairs(tmp_path_factory.mktemp("data") / "pairs")


@pytest.fixture(scope="session")
def translation_run(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A Transformer on a few sentences."""
    folder = tmp_path_factory.mktemp("translation") / "run"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        translation_train.main(translation.tiny_config(folder, pairs))
    return FinishedRun(folder, printed.getvalue())


@pytest.fixture(scope="session")
def translate(translation_run: FinishedRun) -> ServedTranslator:
    """Its exported model, loaded once."""
    return load_translation_model(translation_run.folder / "saved_model")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a project's main with the arguments of a command line, as its script does."""

    def run(main: Callable, config_class: type, *arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["script.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            run_project(main, config_class)
        status = caught.value.code
        assert status is None or isinstance(status, int)
        printed = capsys.readouterr()
        return Answer(status or 0, printed.out, printed.err)

    return run

"""A run that is stopped anywhere goes on by the same command and ends with the same bits."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from projects.news import train
from projects.news.config import NewsConfig
from tests.projects.conftest import FinishedRun
from tests.projects.tiny import acting_bar, as_arguments, tiny_config


class Crash(BaseException):
    """Ends a run without any clean-up."""


def weights_of(folder: Path) -> str:
    return json.loads((folder / "metrics.json").read_text("utf-8"))["weights_sha256"]


def losses_of(folder: Path) -> list[tuple[float, float]]:
    """The losses of all epochs: the weights that are exported may be those of an early one."""
    records = map(json.loads, (folder / "history.jsonl").read_text().splitlines())
    return [(record["train_loss"], record["dev_loss"]) for record in records]


def crash(*_) -> None:
    raise Crash


@pytest.mark.parametrize("name", ["SIGTERM", pytest.param("SIGINT", marks=pytest.mark.slow)])
def test_a_signal_saves_and_the_same_command_goes_on(bow_run, tmp_path, monkeypatch, command, name):
    number = getattr(signal, name)
    config = tiny_config(tmp_path / "run")
    arguments = as_arguments(config)
    with monkeypatch.context() as patch:
        bar = acting_bar(8, lambda: os.kill(os.getpid(), number))
        patch.setattr(train, "ProgressBar", bar)
        stopped = command(train.main, NewsConfig, *arguments)
    assert stopped.status == 128 + number
    assert f"stopped by {name} at step 8" in stopped.out.splitlines()[-1]
    assert not (tmp_path / "run/metrics.json").exists()

    finished = command(train.main, NewsConfig, *arguments)
    assert finished.status == 0 and "resumed at step 8" in finished.out
    assert weights_of(tmp_path / "run") == weights_of(bow_run.folder)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["write_results", "export_text_classifier"])
def test_a_crash_after_training_is_made_up_for(bow_run, tmp_path, monkeypatch, place):
    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(train, place, crash)
        train.main(tiny_config(tmp_path / "run"))
    train.main(tiny_config(tmp_path / "run"))
    assert weights_of(tmp_path / "run") == weights_of(bow_run.folder)


def test_training_that_stopped_early_stays_stopped(tmp_path, monkeypatch):
    """Killed between the last epoch and the export, it must not train one epoch more."""

    def config() -> NewsConfig:
        return tiny_config(tmp_path / "run", epochs=9, patience=1, learning_rate=1e-9)

    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(train, "export_text_classifier", crash)
        train.main(config())
    history = (tmp_path / "run/history.jsonl").read_text()
    assert 2 <= history.count("\n") < 9
    train.main(config())
    assert (tmp_path / "run/history.jsonl").read_text() == history


def test_a_truncated_checkpoint_is_named_and_the_one_before_it_used(
    longer_bow_run: FinishedRun, tmp_path, capsys
):
    folder = tmp_path / "run"
    shutil.copytree(longer_bow_run.folder, folder)
    newest = max((folder / "checkpoints").glob("step-*.npz"))
    newest.write_bytes(newest.read_bytes()[:-100])
    (folder / "metrics.json").unlink()
    train.main(tiny_config(folder, epochs=2))
    out = capsys.readouterr().out
    assert f"{newest.name} is damaged" in out and "resumed at step" in out
    assert weights_of(folder) == weights_of(longer_bow_run.folder)
    assert losses_of(folder) == losses_of(longer_bow_run.folder)


def test_damaged_best_weights_are_one_line(bow_run: FinishedRun, tmp_path, command):
    """There is only one file of them: nothing is exported in their place."""
    folder = tmp_path / "run"
    shutil.copytree(bow_run.folder, folder)
    best = folder / "checkpoints/best.npz"
    best.write_bytes(best.read_bytes()[:-100])
    (folder / "metrics.json").unlink()
    answer = command(train.main, NewsConfig, *as_arguments(tiny_config(folder)))
    assert answer.status == 2 and answer.err.count("\n") == 1
    assert answer.err.startswith("error: ") and "best.npz is damaged" in answer.err
    assert not (folder / "metrics.json").exists()
